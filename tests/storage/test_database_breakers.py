from __future__ import annotations

import asyncio
import contextlib
import pickle

import asyncpg
import pytest

from contracts.deadline import time_limit
from storage.breakers import Breakers
from storage.circuit_breaker import CircuitBreaker
from storage.config import BreakerConfig, StorageConfig
from storage.database import Database, ReadSource
from storage.errors import DatabaseShunned, DatabaseUnavailable, PoolTimeout, QueryTimeout
from storage.settings import StorageSettings
from tests.storage.conftest import BreakableServers, eventually, frozen, of, started

REPLICA, PRIMARY = "postgres:replica-1", "postgres:primary"


async def source(database: Database, *, timeout_s: float = 10.0) -> ReadSource:
    return (await database.fetch("user_exists", "u", timeout_s=timeout_s)).source


async def write(database: Database, *, timeout_s: float) -> None:
    async with database.transaction(timeout_s=timeout_s) as connection:
        await connection.execute("insert into users (id) values ('u') on conflict do nothing")


def fail(breaker: CircuitBreaker) -> None:
    for _ in range(breaker.rules.consecutive):
        breaker.admit().failed()


class TestReads:
    async def test_a_replica_that_is_left_alone_is_stood_in_for_by_the_primary(
        self, breakable_servers: BreakableServers
    ) -> None:
        breakers = Breakers()
        async with started(breakable_servers.settings, breakers=breakers) as database:
            fail(breakers.of(REPLICA))
            read = await source(database)
            assert (read.name, read.diverted) == ("primary", "circuit_open")
            assert of(database, "replica-1").healthy

    async def test_a_frozen_replica_costs_reads_half_their_time_until_it_is_left_alone(
        self, breakable_servers: BreakableServers
    ) -> None:
        breakers = Breakers()
        replica = breakable_servers.replica
        assert replica.process is not None
        async with started(breakable_servers.settings, breakers=breakers) as database:
            assert (await source(database)).name == "replica-1"
            with frozen(replica.process.pid):
                reads = await asyncio.gather(*(source(database, timeout_s=4) for _ in range(5)))
                assert {(read.name, read.diverted) for read in reads} == {("primary", "timeout")}
                assert breakers.of(REPLICA).state == "open"
                assert (await source(database)).name == "primary"
            assert await eventually(lambda: of(database, "replica-1").healthy)
            assert (await source(database)).diverted == "circuit_open"

    async def test_after_one_that_was_late_the_next_reads_go_elsewhere_at_once(
        self, breakable_servers: BreakableServers
    ) -> None:
        """Half of 60 s on the replica would be more than the test has."""
        replica = breakable_servers.replica
        assert replica.process is not None
        async with started(breakable_servers.settings, StorageConfig(token_wait_s=10)) as database:
            token = await database.consistency_token()
            assert (await database.fetch("user_exists", "u", after=token)).source.name == "replica-1"
            with frozen(replica.process.pid):
                assert (await source(database, timeout_s=0.4)).diverted == "timeout"
                async with asyncio.timeout(20):
                    assert (await source(database, timeout_s=60)).name == "primary"
                    read = (await database.fetch("user_exists", "u", after=token, timeout_s=60)).source
            assert (read.name, read.diverted) == ("primary", None)

    async def test_so_it_does_reads_that_see_a_write(self, breakable_servers: BreakableServers) -> None:
        """The replica has reached the token before it is frozen, so that it is asked first."""
        replica = breakable_servers.replica
        assert replica.process is not None
        async with started(breakable_servers.settings, StorageConfig(token_wait_s=10)) as database:
            token = await database.consistency_token()
            assert (await database.fetch("user_exists", "u", after=token)).source.name == "replica-1"
            with frozen(replica.process.pid):
                read = (await database.fetch("user_exists", "u", after=token, timeout_s=0.6)).source
            assert (read.name, read.diverted) == ("primary", "timeout")

    async def test_one_that_is_left_alone_costs_such_reads_nothing(self, breakable_servers: BreakableServers) -> None:
        breakers = Breakers()
        async with started(breakable_servers.settings, StorageConfig(token_wait_s=10), breakers) as database:
            token = await database.consistency_token()
            assert (await database.fetch("user_exists", "u", after=token)).source.name == "replica-1"
            fail(breakers.of(PRIMARY))
            assert (await database.fetch("user_exists", "u", after=token)).source.name == "replica-1"
            fail(breakers.of(REPLICA))
            with pytest.raises(DatabaseUnavailable, match="no read replica has reached"):
                await database.fetch("user_exists", "u", after=token)

    async def test_a_deadline_of_the_caller_counts_as_a_timeout(self, breakable_servers: BreakableServers) -> None:
        breakers = Breakers()
        async with started(StorageSettings(breakable_servers.primary.url()), breakers=breakers) as database:
            with pytest.raises(TimeoutError):
                async with time_limit(0.3), database.transaction() as connection:
                    await connection.execute("select pg_sleep(60)")
            assert breakers.of(PRIMARY).status().failures == 1

    async def test_a_caller_in_a_hurry_counts_for_nothing(self, breakable_servers: BreakableServers) -> None:
        breakers = Breakers(BreakerConfig(least_wait_s=5))
        async with started(StorageSettings(breakable_servers.primary.url()), breakers=breakers) as database:
            with pytest.raises(QueryTimeout):
                async with database.transaction(timeout_s=0.05) as connection:
                    await connection.execute("select pg_sleep(60)")
            assert breakers.of(PRIMARY).status().outcomes == 0

    async def test_looks_in_the_background_close_it_again(self, breakable_servers: BreakableServers) -> None:
        breakers = Breakers(BreakerConfig(open_s=0.1))
        async with started(breakable_servers.settings, breakers=breakers) as database:
            for breaker in (breakers.of(REPLICA), breakers.of(PRIMARY)):
                fail(breaker)
            assert await eventually(lambda: {status.state for status in breakers.status().values()} == {"closed"})
            read = await source(database)
            assert (read.name, read.diverted) == ("replica-1", None)

    async def test_with_every_server_left_alone_a_read_fails_at_once(self, breakable_servers: BreakableServers) -> None:
        breakers = Breakers()
        async with started(breakable_servers.settings, breakers=breakers) as database:
            for breaker in (breakers.of(REPLICA), breakers.of(PRIMARY)):
                fail(breaker)
            with pytest.raises(DatabaseShunned):
                await source(database)


class TestWrites:
    async def test_a_frozen_primary_is_left_alone_after_five_writes(self, breakable_servers: BreakableServers) -> None:
        breakers = Breakers()
        primary = breakable_servers.primary
        assert primary.process is not None
        async with started(breakable_servers.settings, breakers=breakers) as database:
            await write(database, timeout_s=10)
            with frozen(primary.process.pid):
                failed = await asyncio.gather(
                    *(write(database, timeout_s=0.5) for _ in range(5)), return_exceptions=True
                )
                assert {type(error) for error in failed} == {QueryTimeout}
                with pytest.raises(DatabaseShunned, match="left alone"):
                    await write(database, timeout_s=60)
                assert (await source(database)).name == "replica-1"

    async def test_one_that_hangs_before_its_commit_is_certain_to_be_undone(
        self, breakable_servers: BreakableServers
    ) -> None:
        primary = breakable_servers.primary
        assert primary.process is not None
        async with started(breakable_servers.settings) as database:
            await write(database, timeout_s=10)
            with frozen(primary.process.pid), pytest.raises(QueryTimeout) as caught:
                await write(database, timeout_s=0.5)
            assert caught.value.undone
            with pytest.raises(DatabaseUnavailable) as caught_copy:
                raise pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - as between processes
            assert caught_copy.value.undone

    async def test_of_one_that_hangs_at_its_commit_nobody_knows(self, breakable_servers: BreakableServers) -> None:
        process = breakable_servers.primary.process
        assert process is not None
        pid = process.pid
        async with started(breakable_servers.settings) as database:
            with contextlib.ExitStack() as cold:

                async def frozen_at_its_commit() -> None:
                    async with database.transaction(timeout_s=2) as connection:
                        await connection.execute("insert into users (id) values ('unknown')")
                        cold.enter_context(frozen(pid))

                with pytest.raises(QueryTimeout) as caught:
                    await frozen_at_its_commit()
            assert not caught.value.undone

    async def test_a_primary_that_is_down_is_left_alone(self) -> None:
        breakers = Breakers()
        async with started(StorageSettings("postgresql://u@/d?host=/nonexistent"), breakers=breakers) as database:
            for _ in range(5):
                with pytest.raises(DatabaseUnavailable, match="cannot connect"):
                    await write(database, timeout_s=10)
            with pytest.raises(DatabaseShunned) as caught:
                await write(database, timeout_s=10)
            assert caught.value.undone


class TestWhatDoesNotCount:
    async def test_a_caller_who_leaves(self, breakable_servers: BreakableServers) -> None:
        breakers = Breakers()
        async with started(breakable_servers.settings, breakers=breakers) as database:

            async def sleep() -> None:
                async with database.transaction(timeout_s=60) as connection:
                    await connection.execute("select pg_sleep(60)")

            sleeping = asyncio.create_task(sleep())
            await asyncio.sleep(0.5)
            sleeping.cancel()
            await asyncio.wait([sleeping])
            assert breakers.of(PRIMARY).status().failures == 0

    async def test_a_wrong_statement(self, database_url: str) -> None:
        breakers = Breakers()
        async with started(StorageSettings(database_url), breakers=breakers) as database:
            with pytest.raises(asyncpg.DataError):
                await database.fetch("user_exists", 5)
            assert breakers.of(PRIMARY).status().failures == 0

    async def test_too_many_callers(self, database_url: str) -> None:
        breakers = Breakers()
        config = StorageConfig(pool_size=1, pool_overflow=0, pool_floor=0, acquire_timeout_s=0.3)
        async with started(StorageSettings(database_url), config, breakers) as database, database.transaction():
            with pytest.raises(PoolTimeout):
                await database.fetch_primary("user_exists", "u")
            with pytest.raises(QueryTimeout):
                await database.fetch_primary("user_exists", "u", timeout_s=0.2)
            assert database.status()[0].pool.timeouts == 2
            assert breakers.of(PRIMARY).status().failures == 0
