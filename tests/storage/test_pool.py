from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import asyncpg
import pytest

from contracts.deadline import time_limit
from storage.config import StorageConfig
from storage.database import Database
from storage.errors import PoolTimeout, QueryTimeout
from storage.hosts import Hosts
from storage.pool import Pool, PooledConnection
from storage.settings import StorageSettings
from tests.servers import Servers
from tests.storage.conftest import BreakableServers, eventually, of, started

COLD = StorageConfig(pool_floor=0)
ONE_CONNECTION = StorageConfig(pool_size=1, pool_overflow=0, pool_floor=0)


@asynccontextmanager
async def opened(url: str, config: StorageConfig = COLD) -> AsyncIterator[Pool]:
    hosts = Hosts(url, role="primary", timeout_s=config.acquire_timeout_s, on_switch=lambda: None)
    pool = Pool("primary", config, hosts.connect)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def borrowed(pool: Pool, count: int) -> AsyncIterator[list[asyncpg.pool.PoolConnectionProxy]]:
    connections = await asyncio.gather(*(pool.acquire() for _ in range(count)))
    try:
        yield list(connections)
    finally:
        for connection in connections:
            await pool.release(connection)


class TestLimits:
    async def test_the_thirty_first_caller_waits_and_is_told(self, database_url: str) -> None:
        config = StorageConfig(pool_floor=0, acquire_timeout_s=1)
        async with opened(database_url, config) as pool, borrowed(pool, 30):
            late = asyncio.create_task(pool.acquire())
            assert await eventually(lambda: pool.status().waiters == 1)
            with pytest.raises(PoolTimeout, match=r"all 30 connections stayed in use for 1 s\. Lower the load"):
                await late
            status = pool.status()
        assert (status.size, status.in_use, status.idle, status.waiters, status.timeouts) == (30, 30, 0, 0, 1)
        assert 1 <= status.longest_wait_s <= status.wait_s

    async def test_one_that_comes_back_goes_to_who_waits(self, database_url: str) -> None:
        async with opened(database_url, ONE_CONNECTION) as pool:
            first = await pool.acquire()
            waiting = asyncio.create_task(pool.acquire())
            assert await eventually(lambda: pool.status().waiters == 1)
            await pool.release(first)
            await pool.release(await waiting)
            status = pool.status()
        assert (status.acquired, status.created, status.timeouts) == (2, 1, 0)

    async def test_a_caller_that_gives_up_waits_no_more(self, database_url: str) -> None:
        async with opened(database_url, ONE_CONNECTION) as pool, borrowed(pool, 1):
            waiting = asyncio.create_task(pool.acquire())
            assert await eventually(lambda: pool.status().waiters == 1)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            assert (pool.status().waiters, pool.status().timeouts) == (0, 0)

    async def test_one_whose_own_time_is_up_before_got_none_in_time(self, database_url: str) -> None:
        async with opened(database_url, ONE_CONNECTION) as pool, borrowed(pool, 1):
            with pytest.raises(TimeoutError):
                async with time_limit(0.2):
                    await pool.acquire()
            assert (pool.status().waiters, pool.status().timeouts) == (0, 1)

    async def test_each_server_has_a_pool_of_its_own(self, servers: Servers, database_url: str) -> None:
        servers.replay()
        settings = StorageSettings(database_url, (servers.replica_url_of(database_url),))
        config = StorageConfig(pool_size=1, pool_overflow=0, pool_floor=0, acquire_timeout_s=1)
        async with started(settings, config) as database, database.transaction():
            assert (await database.fetch("user_exists", "u")).source.name == "replica-1"
            with pytest.raises(PoolTimeout, match="endpoint primary: all 1 connections"):
                await database.fetch_primary("user_exists", "u")


class TestOverflow:
    async def test_it_is_closed_when_it_comes_back(self, database_url: str) -> None:
        async with opened(database_url, StorageConfig(pool_size=2, pool_overflow=3, pool_floor=0)) as pool:
            async with borrowed(pool, 5):
                assert pool.status().size == 5
            assert (pool.status().size, pool.status().idle) == (2, 2)

    async def test_it_is_kept_while_somebody_waits(self, database_url: str) -> None:
        async with opened(database_url, StorageConfig(pool_size=1, pool_overflow=1, pool_floor=0)) as pool:
            first, second = await pool.acquire(), await pool.acquire()
            waiting = asyncio.create_task(pool.acquire())
            assert await eventually(lambda: pool.status().waiters == 1)
            await pool.release(second)
            third = await waiting
            assert pool.status().created == 2
            await pool.release(third)
            await pool.release(first)
            assert pool.status().size == 1


class TestFloor:
    async def test_it_is_warm_soon_after_the_start_on_every_server(self, servers: Servers, database_url: str) -> None:
        servers.replay()
        settings = StorageSettings(database_url, (servers.replica_url_of(database_url),))
        async with started(settings) as database:
            assert await eventually(lambda: [status.pool.idle for status in database.status()] == [2, 2])

    async def test_idle_connections_are_closed_down_to_it(self, database_url: str) -> None:
        config = StorageConfig(idle_s=1.5)
        async with started(StorageSettings(database_url), config) as database:
            async with AsyncExitStack() as stack:
                for _ in range(6):
                    await stack.enter_async_context(database.transaction())
                assert of(database, "primary").pool.size >= 6
            assert await eventually(lambda: of(database, "primary").pool.size == 2)

    async def test_it_is_kept_however_long_nothing_happens(self, database_url: str) -> None:
        async with opened(database_url, StorageConfig(pool_floor=1, idle_s=3)) as pool:
            async with borrowed(pool, 2):
                pass
            # The one beyond the floor goes, which takes idle_s; the warm one stays all the while and longer.
            async with asyncio.timeout(60):
                while pool.status().size == 2:
                    await pool.keep_warm()
                    await asyncio.sleep(0.02)
            await pool.keep_warm()
            assert (pool.status().size, pool.status().created) == (1, 2)

    async def test_warming_that_is_cut_off_gives_back_what_it_borrowed(self, database_url: str) -> None:
        async with opened(database_url, StorageConfig(pool_floor=2)) as pool:
            for pauses in range(40):
                await pool.keep_warm()
                warming = asyncio.create_task(pool.keep_warm())
                for _ in range(pauses):
                    await asyncio.sleep(0)
                warming.cancel()
                await asyncio.gather(warming, return_exceptions=True)
                assert (pool.status().in_use, pool.status().waiters) == (0, 0)

    async def test_it_returns_after_the_server_was_down(self, breakable_servers: BreakableServers) -> None:
        async with started(breakable_servers.settings) as database:
            assert await eventually(lambda: of(database, "replica-1").pool.size == 2)
            breakable_servers.replica.stop()
            assert await eventually(lambda: of(database, "replica-1").pool.size == 0)
            breakable_servers.restore()
            assert await eventually(lambda: of(database, "replica-1").pool.size == 2)


class TestLifetime:
    async def test_a_connection_too_old_is_replaced_when_it_comes_back(self, database_url: str) -> None:
        async with opened(database_url, StorageConfig(pool_floor=0, connection_lifetime_s=0.01)) as pool:
            pids = []
            for _ in range(2):
                async with borrowed(pool, 1) as (connection,):
                    pids.append(await connection.fetchval("select pg_backend_pid(), pg_sleep(0.02)"))
            status = pool.status()
        assert pids[0] != pids[1]
        assert (status.size, status.created, status.recycled) == (0, 2, 2)

    async def test_an_idle_one_of_the_floor_is_replaced_too(self, database_url: str) -> None:
        config = StorageConfig(connection_lifetime_s=0.5)
        async with started(StorageSettings(database_url), config) as database:
            assert await eventually(lambda: of(database, "primary").pool.recycled >= 2)
            assert await eventually(lambda: of(database, "primary").pool.size == 2)

    async def test_connections_made_at_once_are_not_replaced_at_once(self, database_url: str) -> None:
        async with opened(database_url) as pool, borrowed(pool, 10) as proxies:
            connections = [cast("PooledConnection", proxy) for proxy in proxies]
            lifetimes = [connection.expires_at - connection.made_at for connection in connections]
        assert len(set(lifetimes)) == 10
        assert all(3240 <= lifetime <= 3960 for lifetime in lifetimes)


class TestConnections:
    async def test_a_statement_is_prepared_once(self, database_url: str) -> None:
        async with opened(database_url, ONE_CONNECTION) as pool:
            for number in range(5):
                async with borrowed(pool, 1) as (connection,):
                    await connection.fetchval("select $1::int", number)
            async with borrowed(pool, 1) as (connection,):
                prepared = await connection.fetch(
                    "select generic_plans + custom_plans as runs from pg_prepared_statements"
                    " where statement = 'select $1::int'"
                )
        assert [row["runs"] for row in prepared] == [5]

    async def test_a_slow_statement_is_ended_at_its_limit_and_its_connection_is_replaced(
        self, database_url: str
    ) -> None:
        async with started(StorageSettings(database_url), ONE_CONNECTION) as database:
            with pytest.raises(QueryTimeout, match=r"0\.1 s"):
                async with database.transaction(timeout_s=0.1) as connection:
                    await connection.execute("select pg_sleep(30)")
            assert await answers(database)

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
            assert await answers(database)
            assert of(database, "primary").pool.in_use == 0

    async def test_those_in_use_are_cut_when_all_are_dropped(self, database_url: str) -> None:
        async with opened(database_url, ONE_CONNECTION) as pool:
            async with borrowed(pool, 1) as (connection,):
                sleeping = asyncio.create_task(connection.fetch("select pg_sleep(30)"))
                await asyncio.sleep(0)
                pool.drop_connections()
                with pytest.raises((asyncpg.PostgresConnectionError, asyncpg.InterfaceError)):
                    await sleeping
            async with borrowed(pool, 1) as (connection,):
                assert await connection.fetchval("select 1") == 1

    async def test_the_server_says_how_many_connections_it_has_for_us(self, database_url: str) -> None:
        async with started(StorageSettings(database_url)) as database:
            # 400, of which three are for administrators
            assert await eventually(lambda: of(database, "primary").max_connections == 397)


async def answers(database: Database) -> bool:
    return (await database.fetch("user_exists", "u", timeout_s=5)).source.name == "primary"
