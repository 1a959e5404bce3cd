"""A primary that dies and a replica that takes its place, seen through one Database whose URL names both."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from cluster.postgres import PostgresServer
from contracts.consistency import ConsistencyToken
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.named_queries import QUERIES
from storage.settings import StorageSettings
from tests.storage.conftest import BreakableServers, Reads, eventually, of, started


def both(servers: BreakableServers) -> StorageSettings:
    """One URL of both servers for writes; the replica's for reads."""
    ports = f"{servers.primary.port},{servers.replica.port}"
    url = f"postgresql://shortlist@/shortlist?host={servers.primary.sockets},{servers.primary.sockets}&port={ports}"
    return StorageSettings(url, (servers.replica.url(),))


async def write(database: Database, user: str) -> None:
    async with database.transaction(timeout_s=5) as connection:
        await connection.execute("insert into users (id) values ($1) on conflict do nothing", user)


async def ports(database: Database) -> tuple[int, int]:
    """The ports of the servers that answer reads and writes."""
    reader = (await database.fetch("port", timeout_s=5)).records[0]["port"]
    return int(reader), int((await database.fetch_primary("port", timeout_s=5))[0]["port"])


async def reach(database: Database, expected: tuple[int, int], *, within_s: float = 30) -> None:
    """Return once reads and writes are answered at these ports."""
    deadline = asyncio.get_running_loop().time() + within_s
    while (found := await ports(database)) != expected:
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.05)


def swap(primary: PostgresServer, replica: PostgresServer) -> None:
    """Promote *replica* as planned, and let *primary* follow it."""
    primary.stop()
    replica.promote()
    replica.keep_place(primary)
    primary.fence()
    primary.follow(replica)
    primary.start()
    primary.wait_ready()


async def writes_work(database: Database, user: str, *, within_s: float = 20) -> bool:
    """Whether a write gets through in time, tried again as a client would."""
    deadline = asyncio.get_running_loop().time() + within_s
    while asyncio.get_running_loop().time() < deadline:
        try:
            await write(database, user)
        except (DatabaseUnavailable, asyncpg.PostgresError):
            await asyncio.sleep(0.05)
        else:
            return True
    return False


class TestPromotion:
    async def test_writes_resume_through_the_same_url_and_reads_never_fail(
        self, promotable_servers: BreakableServers
    ) -> None:
        primary, replica = promotable_servers.primary, promotable_servers.replica
        async with started(both(promotable_servers)) as database:
            await write(database, "before")
            old_token = await database.consistency_token()
            assert old_token is not None
            assert (await database.fetch("user_exists", "before", after=old_token)).records[0]["user_exists"]

            reads = Reads(database)
            assert primary.process is not None
            primary.process.kill()
            primary.process.wait()
            with pytest.raises(DatabaseUnavailable):
                await write(database, "meanwhile")
            await asyncio.to_thread(replica.query, "select pg_promote()")
            assert await writes_work(database, "after")
            await reads.stop()
            assert ("replica-1", None) in reads.seen

            token = await database.consistency_token()
            assert token is not None
            assert ConsistencyToken.parse(token).timeline == ConsistencyToken.parse(old_token).timeline + 1
            rows = await database.fetch("user_exists", "after", after=token)
            assert rows.records[0]["user_exists"]
            assert (await database.fetch("user_exists", "before", after=old_token)).records[0]["user_exists"]
            assert await eventually(lambda: of(database, "primary").healthy and not of(database, "primary").lagging)
            assert await eventually(lambda: of(database, "replica-1").timeline == 2)
            assert (await database.fetch("user_exists", "after")).source.name == "replica-1"

    async def test_servers_that_change_places_are_followed_by_reads_and_writes(
        self, promotable_servers: BreakableServers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("storage.database.QUERIES", {**QUERIES, "port": "select current_setting('port') as port"})
        first, second = promotable_servers.primary, promotable_servers.replica
        url = both(promotable_servers).database_url
        async with started(StorageSettings(url, (url,))) as database:
            assert await ports(database) == (second.port, first.port)
            reads = Reads(database)
            await asyncio.to_thread(swap, first, second)
            assert await writes_work(database, "after")
            await reach(database, (first.port, second.port))
            token = await database.consistency_token()
            assert (await database.fetch("user_exists", "after", after=token)).records[0]["user_exists"]
            await reads.stop()

    async def test_an_old_primary_that_still_runs_is_left_for_the_promoted_one(
        self, promotable_servers: BreakableServers
    ) -> None:
        async with started(both(promotable_servers)) as database:
            await write(database, "before")
            assert await eventually(lambda: of(database, "replica-1").timeline == 1)
            await asyncio.to_thread(promotable_servers.replica.query, "select pg_promote()")
            assert await eventually(lambda: of(database, "primary").timeline == 2, within_s=20)
            assert await writes_work(database, "after")
            found = await asyncio.to_thread(
                promotable_servers.replica.query, "select count(*) from users", database="shortlist"
            )
            assert found == "2"

    async def test_an_old_primary_that_was_made_read_only_is_left(self, promotable_servers: BreakableServers) -> None:
        async with started(StorageSettings(both(promotable_servers).database_url)) as database:
            await write(database, "before")
            await asyncio.to_thread(promotable_servers.replica.query, "select pg_promote()")
            for statement in ("alter system set default_transaction_read_only = on", "select pg_reload_conf()"):
                await asyncio.to_thread(promotable_servers.primary.query, statement)
            assert await eventually(lambda: of(database, "primary").timeline == 2)
            assert await writes_work(database, "after")
            assert (await database.fetch_primary("user_exists", "after"))[0]["user_exists"]

    async def test_a_token_of_a_newer_timeline_makes_it_look_for_the_promoted_one(
        self, promotable_servers: BreakableServers
    ) -> None:
        settings = StorageSettings(both(promotable_servers).database_url)
        async with started(settings) as behind:
            await write(behind, "before")
            await asyncio.to_thread(promotable_servers.replica.query, "select pg_promote()")
            async with started(StorageSettings(promotable_servers.replica.url())) as ahead:
                await write(ahead, "after")
                token = await ahead.consistency_token()
            assert (await behind.fetch("user_exists", "after", after=token)).records[0]["user_exists"]
