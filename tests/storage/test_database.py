from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest

from storage.config import StorageConfig
from storage.database import Database
from storage.errors import DatabaseUnavailable, PoolTimeout, PrimaryProtected, QueryUnknown
from storage.settings import StorageSettings
from tests.servers import Servers
from tests.storage.conftest import BreakableServers, Reads, eventually, frozen, of, started


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


class TestLag:
    async def test_a_caught_up_replica_is_nearly_without_lag(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as database:
            assert await eventually(lambda: (of(database, "replica-1").lag_ms or 1e9) < 1000)

    async def test_paused_replay_moves_reads_to_the_primary_and_back_without_a_failed_one(
        self, breakable_servers: BreakableServers
    ) -> None:
        config = StorageConfig(lag_limit_s=1.5, return_after=2)
        async with started(breakable_servers.settings, config) as database:
            assert await reader(database) == "replica-1"
            reads = Reads(database)
            breakable_servers.replica.query("select pg_wal_replay_pause()")
            assert await eventually(lambda: of(database, "replica-1").lagging)
            source = (await database.fetch("user_exists", "u")).source
            assert (source.name, source.diverted, source.stale) == ("primary", "replica_lag", False)
            breakable_servers.replica.query("select pg_wal_replay_resume()")
            assert await eventually(lambda: not of(database, "replica-1").lagging)
            assert await reader(database) == "replica-1"
            await reads.stop()
            assert reads.seen == {("replica-1", None), ("primary", "replica_lag")}

    async def test_beyond_so_many_diverted_reads_the_lagging_replica_answers_and_says_so(
        self, breakable_servers: BreakableServers
    ) -> None:
        config = StorageConfig(lag_limit_s=1.5, diverted_reads=1)
        async with started(breakable_servers.settings, config) as database:
            breakable_servers.replica.query("select pg_wal_replay_pause()")
            assert await eventually(lambda: of(database, "replica-1").lagging)
            async with database.transaction() as connection:
                await connection.execute("lock table users")
                waiting = asyncio.create_task(database.fetch("user_exists", "u"))
                await asyncio.sleep(0)
                source = (await database.fetch("user_exists", "u", timeout_s=5)).source
                assert (source.name, source.diverted, source.stale) == ("replica-1", None, True)
                assert (source.lag_ms or 0) > 1500
            assert (await waiting).source.diverted == "replica_lag"

    async def test_with_the_primary_down_a_lagging_replica_is_better_than_none_and_says_so(
        self, breakable_servers: BreakableServers
    ) -> None:
        async with started(breakable_servers.settings, StorageConfig(lag_limit_s=1.5)) as database:
            breakable_servers.replica.query("select pg_wal_replay_pause()")
            assert await eventually(lambda: of(database, "replica-1").lagging)
            breakable_servers.primary.stop()
            source = (await database.fetch("user_exists", "u", timeout_s=5)).source
            assert (source.name, source.stale) == ("replica-1", True)

    async def test_several_processes_beat_one_heart(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as first, started(breakable_servers.settings) as second:
            for database in (first, second):
                assert await eventually(lambda d=database: (of(d, "replica-1").lag_ms or 1e9) < 1000)  # type: ignore[misc]


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

    async def test_a_replica_killed_and_started_again_costs_no_read(self, breakable_servers: BreakableServers) -> None:
        replica = breakable_servers.replica
        async with started(breakable_servers.settings) as database:
            assert await reader(database) == "replica-1"
            reads = Reads(database)
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
            await reads.stop()
            assert reads.seen == {("replica-1", None), ("primary", "unavailable")}

    async def test_a_frozen_replica_is_left_out_and_its_reads_end_in_time(
        self, breakable_servers: BreakableServers
    ) -> None:
        replica = breakable_servers.replica
        async with started(breakable_servers.settings) as database:
            assert await reader(database) == "replica-1"
            assert replica.process is not None
            with frozen(replica.process.pid):
                source = (await database.fetch("user_exists", "u", timeout_s=4)).source
                assert (source.name, source.diverted) in {("primary", "timeout"), ("primary", "unavailable")}
                assert await eventually(lambda: not of(database, "replica-1").healthy)
                assert await reader(database) == "primary"
            assert await eventually(lambda: of(database, "replica-1").healthy)


class TestConsistency:
    async def test_a_read_sees_the_write_whose_token_it_carries(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as database:
            for number in range(20):
                user = await written(database, number)
                token = await database.consistency_token()
                rows = await database.fetch("user_exists", user, after=token)
                assert rows.records[0]["user_exists"]
                assert rows.source.diverted is None

    async def test_a_replica_that_has_come_so_far_answers(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings, StorageConfig(token_wait_s=10)) as database:
            user = await written(database, 100)
            rows = await database.fetch("user_exists", user, after=await database.consistency_token())
        assert (rows.records[0]["user_exists"], rows.source.name) == (True, "replica-1")

    async def test_while_replay_stands_still_the_primary_answers_undegraded(
        self, breakable_servers: BreakableServers
    ) -> None:
        async with started(breakable_servers.settings) as database:
            breakable_servers.replica.query("select pg_wal_replay_pause()")
            user = await written(database, 200)
            token = await database.consistency_token()
            reads = await asyncio.gather(*(database.fetch("user_exists", user, after=token) for _ in range(5)))
        assert [(rows.records[0]["user_exists"], rows.source.name) for rows in reads] == [(True, "primary")] * 5
        assert {(rows.source.diverted, rows.source.stale) for rows in reads} == {(None, False)}

    async def test_an_unknown_timeline_is_read_on_the_primary(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as database:
            sources = [(await database.fetch("user_exists", "u", after=token)).source for token in ("7-0/0", "1-0/0")]
        assert [source.name for source in sources] == ["primary", "replica-1"]

    async def test_while_every_replica_lags_so_many_are_read_on_the_primary_and_no_more(
        self, breakable_servers: BreakableServers
    ) -> None:
        config = StorageConfig(lag_limit_s=1.5, diverted_reads=1)
        async with started(breakable_servers.settings, config) as database:
            breakable_servers.replica.query("select pg_wal_replay_pause()")
            token = await database.consistency_token()
            assert await eventually(lambda: of(database, "replica-1").lagging)
            async with database.transaction() as connection:
                await connection.execute("lock table users")
                waiting = asyncio.create_task(database.fetch("user_exists", "u", after=token))
                assert await eventually(lambda: of(database, "primary").pool.in_use == 2)
                with pytest.raises(PrimaryProtected, match="every read replica lags") as caught:
                    await database.fetch("user_exists", "u", after=token, timeout_s=20)
            source = (await waiting).source
            assert (source.name, source.diverted, source.stale) == ("primary", "replica_lag", False)
            assert (await database.fetch("user_exists", "u", after=token)).source.name == "primary"
        assert isinstance(caught.value, PoolTimeout)

    async def test_a_token_beyond_the_primary_is_answered_by_it(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as database:
            user = await written(database, 500)
            invented = "1-FFFFFFFF/FFFFFFFF"
            rows = await database.fetch("user_exists", user, after=invented)
            assert (rows.records[0]["user_exists"], rows.source.name) == (True, "primary")
            breakable_servers.replica.query("select pg_wal_replay_pause()")
            later = await written(database, 501)
            rows = await database.fetch("user_exists", later, after=await database.consistency_token())
            assert (rows.records[0]["user_exists"], rows.source.name) == (True, "primary")

    async def test_with_the_primary_down_nothing_older_is_served(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as database:
            seen = await database.consistency_token()
            breakable_servers.replica.query("select pg_wal_replay_pause()")
            await written(database, 300)
            unseen = await database.consistency_token()
            breakable_servers.primary.stop()
            with pytest.raises(DatabaseUnavailable, match="no read replica has reached the consistency token"):
                await database.fetch("user_exists", "u", after=unseen)
            rows = await database.fetch("user_exists", "u", after=seen)
            assert (rows.source.name, await database.consistency_token()) == ("replica-1", None)

    async def test_a_replica_that_started_again_is_asked_before_it_is_believed(
        self, breakable_servers: BreakableServers
    ) -> None:
        """What a replica had replayed before it was killed it may not have replayed again when it answers again."""
        async with started(breakable_servers.settings) as database:
            user = await written(database, 400)
            token = await database.consistency_token()
            breakable_servers.replica.process.kill()  # type: ignore[union-attr]  # it runs
            breakable_servers.replica.process.wait()  # type: ignore[union-attr]
            breakable_servers.restore()
            for _ in range(20):
                rows = await database.fetch("user_exists", user, after=token)
                assert rows.records[0]["user_exists"]

    async def test_what_is_no_token_is_the_callers_error(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            with pytest.raises(ValueError, match="consistency token"):
                await database.fetch("user_exists", "u", after="yesterday")


async def written(database: Database, number: int) -> str:
    async with database.transaction() as connection:
        await connection.execute("insert into users (id) values ($1) on conflict do nothing", f"user-{number}")
    return f"user-{number}"
