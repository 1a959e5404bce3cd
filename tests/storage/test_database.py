from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import psutil
import pytest

from storage.config import StorageConfig
from storage.database import Database, EndpointStatus
from storage.errors import DatabaseUnavailable, PoolTimeout, QueryTimeout, QueryUnknown
from storage.settings import StorageSettings
from tests.servers import Servers
from tests.storage.conftest import BreakableServers, eventually

ONE_CONNECTION = StorageConfig(pool_size=1, pool_overflow=0, pool_floor=0)


@asynccontextmanager
async def started(settings: StorageSettings, config: StorageConfig | None = None) -> AsyncIterator[Database]:
    database = Database(settings, application="test", config=config or StorageConfig())
    await database.start()
    try:
        yield database
    finally:
        await database.close()


def of(database: Database, name: str) -> EndpointStatus:
    return next(status for status in database.status() if status.name == name)


async def reader(database: Database) -> str:
    return (await database.fetch("user_exists", "u", timeout_s=5)).source.name


class TestReads:
    async def test_a_read_goes_to_the_replica(self, servers: Servers, database_url: str) -> None:
        servers.replay()
        async with started(StorageSettings(database_url, (servers.replica_url_of(database_url),))) as database:
            rows = await database.fetch("user_exists", "u")
        assert [row["user_exists"] for row in rows.records] == [False]
        assert (rows.source.name, rows.source.diverted) == ("replica-1", None)

    async def test_without_replicas_the_primary_answers_and_is_not_diverted_to(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            source = (await database.fetch("user_exists", "u")).source
        assert (source.name, source.lag_ms, source.diverted) == ("primary", None, None)

    async def test_json_is_read_as_values(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            async with database.transaction() as connection:
                await connection.execute(
                    """insert into products (id, title, attributes) values ('1', 'A', '{"k": [1]}')"""
                )
            rows = await database.fetch("products_by_id", ["1"])
        assert rows.records[0]["attributes"] == {"k": [1]}

    async def test_the_session_names_itself_and_does_not_compile(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database, database.transaction() as connection:
            settings = [await connection.fetchval(f"show {name}") for name in ("application_name", "jit")]
        assert settings == ["test", "off"]

    async def test_an_unknown_query_is_the_callers_error(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            with pytest.raises(QueryUnknown):
                await database.fetch("no_such_query")

    async def test_a_wrong_parameter_stays_the_error_it_is(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            with pytest.raises(asyncpg.DataError):
                await database.fetch("user_exists", 5)
            with pytest.raises(asyncpg.InterfaceError):
                await database.fetch("user_exists")
        assert of(database, "primary").healthy


class TestTransaction:
    async def test_what_raises_is_undone(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            with contextlib.suppress(asyncpg.UniqueViolationError):
                async with database.transaction() as connection:
                    await connection.execute("insert into users (id) values ('u')")
                    await connection.execute("insert into users (id) values ('u')")
            assert (await database.fetch_primary("user_exists", "u"))[0]["user_exists"] is False

    async def test_what_ends_is_kept(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            async with database.transaction() as connection:
                await connection.execute("insert into users (id) values ('u')")
            assert (await database.fetch_primary("user_exists", "u"))[0]["user_exists"] is True

    async def test_a_constraint_stays_the_error_it_is(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            with pytest.raises(asyncpg.CheckViolationError):
                async with database.transaction() as connection:
                    await connection.execute("insert into users (id) values ('')")


class TestPool:
    async def test_a_caller_beyond_the_limit_waits_and_is_told(self, database_url: str) -> None:
        limits = StorageConfig(pool_size=1, pool_overflow=0, pool_floor=0, acquire_timeout_s=0.1)
        async with started(StorageSettings(database_url), limits) as database, database.transaction():
            with pytest.raises(PoolTimeout, match="all 1 connections"):
                await database.fetch_primary("user_exists", "u")

    async def test_a_slow_statement_is_ended_at_its_limit_and_its_connection_is_replaced(
        self, database_url: str
    ) -> None:
        limits = ONE_CONNECTION
        async with started(StorageSettings(database_url), limits) as database:
            with pytest.raises(QueryTimeout, match=r"0\.1 s"):
                async with database.transaction(timeout_s=0.1) as connection:
                    await connection.execute("select pg_sleep(30)")
            assert await reader(database) == "primary"


class TestLag:
    async def test_a_caught_up_replica_is_nearly_without_lag(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as database:
            assert await eventually(lambda: (of(database, "replica-1").lag_ms or 1e9) < 100)

    async def test_paused_replay_is_noticed_diverted_from_and_returned_to(
        self, breakable_servers: BreakableServers
    ) -> None:
        async with started(breakable_servers.settings, StorageConfig(lag_limit_s=1.5)) as database:
            assert await reader(database) == "replica-1"
            breakable_servers.replica.query("select pg_wal_replay_pause()")
            assert await eventually(lambda: (of(database, "replica-1").lag_ms or 0) > 1500)
            source = (await database.fetch("user_exists", "u")).source
            assert (source.name, source.diverted) == ("primary", "replica_lag")
            breakable_servers.replica.query("select pg_wal_replay_resume()")
            assert await eventually(lambda: (of(database, "replica-1").lag_ms or 1e9) < 1000)
            assert await reader(database) == "replica-1"

    async def test_several_processes_beat_one_heart(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as first, started(breakable_servers.settings) as second:
            for database in (first, second):
                assert await eventually(lambda d=database: (of(d, "replica-1").lag_ms or 1e9) < 100)  # type: ignore[misc]


class TestFaults:
    async def test_start_returns_while_every_server_is_down(self) -> None:
        nowhere = "postgresql://shortlist@/shortlist?host=/nonexistent&port=5432"
        async with started(StorageSettings(nowhere, (nowhere,))) as database:
            with pytest.raises(DatabaseUnavailable) as caught:
                await database.fetch("user_exists", "u")
            assert [status.healthy for status in database.status()] == [False, False]
        assert caught.value.retryable
        assert caught.value.__cause__ is not None

    async def test_with_the_primary_down_the_replica_still_answers(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as database:
            breakable_servers.primary.stop()
            assert await reader(database) == "replica-1"
            with pytest.raises(DatabaseUnavailable):
                async with database.transaction():
                    pass
            assert await eventually(lambda: of(database, "replica-1").lag_ms is None)
            assert not of(database, "primary").healthy
            assert await reader(database) == "replica-1"
            breakable_servers.restore()
            assert await eventually(lambda: of(database, "primary").healthy)
            async with database.transaction() as connection:
                assert await connection.fetchval("select 1") == 1

    async def test_a_killed_replica_costs_no_read(self, breakable_servers: BreakableServers) -> None:
        replica = breakable_servers.replica
        async with started(breakable_servers.settings) as database:
            assert await reader(database) == "replica-1"
            assert replica.process is not None
            replica.process.kill()
            replica.process.wait()
            for _ in range(20):
                source = (await database.fetch("user_exists", "u", timeout_s=5)).source
            assert (source.name, source.diverted) == ("primary", "unavailable")
            assert not of(database, "replica-1").healthy
            breakable_servers.restore()
            assert await eventually(lambda: of(database, "replica-1").healthy)
            assert await reader(database) == "replica-1"

    async def test_a_frozen_replica_is_left_out_and_its_reads_end_in_time(
        self, breakable_servers: BreakableServers
    ) -> None:
        replica = breakable_servers.replica
        async with started(breakable_servers.settings) as database:
            assert await reader(database) == "replica-1"
            assert replica.process is not None
            backends = children(replica.process.pid)
            for pid in [replica.process.pid, *backends]:
                os.kill(pid, signal.SIGSTOP)
            try:
                with pytest.raises(QueryTimeout):
                    await database.fetch("user_exists", "u", timeout_s=0.3)
                assert await eventually(lambda: not of(database, "replica-1").healthy)
                assert await reader(database) == "primary"
            finally:
                for pid in [*backends, replica.process.pid]:
                    os.kill(pid, signal.SIGCONT)
            assert await eventually(lambda: of(database, "replica-1").healthy)

    async def test_a_cancelled_caller_gives_its_connection_back(self, database_url: str) -> None:
        async with started(StorageSettings(database_url), ONE_CONNECTION) as database:
            entered = asyncio.Event()

            async def sleep_in_a_transaction() -> None:
                async with database.transaction() as connection:
                    entered.set()
                    await connection.execute("select pg_sleep(30)")

            task = asyncio.create_task(sleep_in_a_transaction())
            await entered.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await reader(database) == "primary"


def children(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]
