"""A primary and a replica that the tests of this room may stop, pause and kill."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import asyncpg
import psutil
import pytest

from cluster.child import wait_until
from cluster.postgres import DATABASE, PostgresServer
from cluster.postgres_programs import PostgresPrograms
from storage.breakers import Breakers
from storage.config import StorageConfig
from storage.connection import Connection
from storage.database import Database, EndpointStatus
from storage.migrate import migrate
from storage.settings import StorageSettings
from tests.directories import short_directory
from tests.servers import Servers


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have databases look at their servers more often than each second; most tests wait for what they find."""
    monkeypatch.setattr("storage.monitor.PERIOD_S", 0.25)
    monkeypatch.setattr("storage.monitor.HOSTS_EVERY_S", 1.0)


@dataclass(frozen=True)
class BreakableServers:
    """A migrated primary and its streaming replica; a test puts right what it breaks."""

    primary: PostgresServer
    replica: PostgresServer

    @property
    def settings(self) -> StorageSettings:
        """Both addresses."""
        return StorageSettings(self.primary.url(), (self.replica.url(),))

    def restore(self) -> None:
        """Start what is down, resume what is paused."""
        for server in (self.primary, self.replica):
            if server.process is None or server.process.poll() is not None:
                server.start()
            server.wait_ready()
        self.replica.query("select pg_wal_replay_resume() where pg_is_wal_replay_paused()")
        assert wait_until(self.replica.is_streaming, timeout_s=20)


@contextlib.contextmanager
def primary_with_replica(programs: PostgresPrograms) -> Iterator[BreakableServers]:
    """A migrated primary and a replica that streams from it, in a directory of their own."""
    account = programs.account
    with short_directory("shortlist-break-") as directory, contextlib.ExitStack() as stack:
        owned = [directory / "sockets", directory / "postgres"]
        for path in owned:
            path.mkdir(mode=0o700)
            if account is not None:
                os.chown(path, account.uid, account.gid)

        def server(name: str, port: int) -> PostgresServer:
            return PostgresServer(
                name,
                programs,
                data=directory / "postgres" / name,
                sockets=directory / "sockets",
                port=port,
                log=directory / f"{name}.log",
                settings={"fsync": "off", "shared_buffers": "16MB"},
            )

        primary, replica = server("postgres-primary", 5432), server("postgres-replica-1", 5433)
        primary.initialise()
        primary.start()
        stack.callback(primary.stop)
        primary.wait_ready()
        primary.create_database(DATABASE)
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(migrate(primary.url()))).result()
        replica.clone(primary)
        replica.follow(primary)
        replica.start()
        stack.callback(replica.stop)
        replica.wait_ready()
        assert wait_until(replica.is_streaming, timeout_s=20)
        yield BreakableServers(primary, replica)


@pytest.fixture(scope="session")
def _breakable_servers(servers: Servers) -> Iterator[BreakableServers]:
    with primary_with_replica(servers.primary.programs) as breakable:
        yield breakable


@pytest.fixture
def promotable_servers(servers: Servers) -> Iterator[BreakableServers]:
    """A primary to be killed and a replica to be promoted: for one test, which leaves them as they are then."""
    with primary_with_replica(servers.primary.programs) as promotable:
        yield promotable


@pytest.fixture
def breakable_servers(_breakable_servers: BreakableServers) -> Iterator[BreakableServers]:
    """Both servers, well at the start of the test and put right after it."""
    _breakable_servers.restore()
    yield _breakable_servers
    _breakable_servers.restore()


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    """A plain connection to an empty, migrated database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def empty_database_url(servers: Servers) -> Iterator[str]:
    """A database without a schema; dropped afterwards."""
    servers.primary.create_database("empty")
    yield servers.primary.url("empty")
    servers.primary.query("drop database empty with (force)")


@contextlib.asynccontextmanager
async def started(
    settings: StorageSettings, config: StorageConfig | None = None, breakers: Breakers | None = None
) -> AsyncIterator[Database]:
    """A database that watches its servers until the block ends."""
    database = Database(settings, application="test", config=config or StorageConfig(), breakers=breakers)
    await database.start()
    try:
        yield database
    finally:
        await database.close()


class Reads:
    """Reads side by side without a pause until stopped; the first that fails is raised by `stop`."""

    def __init__(self, database: Database, *, readers: int = 4) -> None:
        self.seen: set[tuple[str, str | None]] = set()
        self._database = database
        self._stopped = False
        self._tasks = [asyncio.create_task(self._read()) for _ in range(readers)]

    async def stop(self) -> None:
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _read(self) -> None:
        while not self._stopped:
            source = (await self._database.fetch("user_exists", "u", timeout_s=10)).source
            self.seen.add((source.name, source.diverted))
            await asyncio.sleep(0.001)


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop the process *pid* and all it has started, until the block ends."""
    server = psutil.Process(pid)
    everyone = [server, *server.children(recursive=True)]
    for process in everyone:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(everyone):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def of(database: Database, name: str) -> EndpointStatus:
    """What *database* knows of one server."""
    return next(status for status in database.status() if status.name == name)


async def eventually(condition: Callable[[], bool], *, within_s: float = 30.0) -> bool:
    """Return whether *condition* comes true in time, without blocking the loop."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
