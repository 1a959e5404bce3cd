"""Real servers for the tests: Postgres with a streaming replica, Valkey, and a whole stack on demand."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.account import database_account
from cluster.child import wait_until
from cluster.errors import ServerFailed
from cluster.postgres import DATABASE, PostgresServer
from cluster.postgres_programs import PostgresPrograms
from cluster.valkey import ValkeyServer
from storage.migrate import migrate
from tests.command import FREE_PORTS, Shortlist
from tests.directories import short_directory
from tests.servers import TEMPLATE, Servers
from tests.small_catalogue import (
    broken_database,
    cache,
    catalogue_url,
    database,
    embeddings,
    factors,
    no_embeddings,
    own_database,
    store,
)
from tests.stack import Stack

_numbers = itertools.count(1)

# Fixtures of the small catalogue, for every room that reads one.
__all__ = [
    "broken_database",
    "cache",
    "catalogue_url",
    "database",
    "embeddings",
    "factors",
    "no_embeddings",
    "own_database",
    "store",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests of a whole stack to the end: while it runs, it takes its share of the machine."""
    items.sort(key=lambda item: item.get_closest_marker("stack") is not None)


def migrate_database(database_url: str) -> None:
    """Apply the migrations."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(migrate(database_url))).result()


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """A migrated primary, its replica and Valkey for the whole session: do not stop them, do not leave rows behind."""
    with short_directory("shortlist-test-") as directory, contextlib.ExitStack() as stack:
        account = database_account()
        programs = PostgresPrograms.install(directory / "programs", account)
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
                settings={"fsync": "off", "shared_buffers": "32MB"},
            )

        primary, replica = server("postgres-primary", 5432), server("postgres-replica-1", 5433)
        primary.initialise()
        primary.start()
        stack.callback(primary.stop)
        primary.wait_ready()
        primary.create_database(TEMPLATE)
        migrate_database(primary.url(TEMPLATE))
        primary.create_database(DATABASE, template=TEMPLATE)
        replica.clone(primary)
        replica.follow(primary)
        replica.start()
        stack.callback(replica.stop)
        valkey = ValkeyServer(
            path=directory / "valkey.sock", directory=directory / "valkey", log=directory / "valkey.log"
        )
        valkey.start()
        stack.callback(valkey.stop)
        valkey.wait_ready()
        replica.wait_ready()
        if not wait_until(replica.is_streaming, timeout_s=60):
            raise ServerFailed("the replica does not stream")
        yield Servers(directory, primary, replica, valkey)


@pytest.fixture
def database_url(servers: Servers) -> Iterator[str]:
    """The DSN of a fresh, migrated, empty database on the primary; dropped afterwards."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    servers.primary.query(f'create database "{name}" template "{TEMPLATE}" strategy file_copy')
    yield servers.primary.url(name)
    servers.primary.query(f'drop database "{name}" with (force)')


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The real thing for the whole session: leave it as it was found. Takes minutes to start; mark tests `stack`."""
    with short_directory("shortlist-demo-") as directory:
        shortlist = Shortlist(directory / "state")
        try:
            yield Stack(shortlist, shortlist.ask("demo", "--detach", *FREE_PORTS, timeout_s=1200))
        finally:
            shortlist.run("down")
        assert shortlist.processes() == []
        assert not shortlist.state.alias.exists()
