from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from catalogue import popularity
from catalogue.events import Event
from catalogue.popularity import PopularityRefresh, new_popularity_version, refresh_popularity
from catalogue.store import insert_events
from storage.connection import Connection
from storage.errors import DatabaseUnavailable
from storage.named_queries import QUERIES
from storage.settings import StorageSettings
from tests.servers import Servers

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

WAITING = """
select count(*) from pg_locks
where locktype = 'advisory' and not granted
    and database = (select oid from pg_database where datname = current_database())
"""

Refresh = Callable[[], Awaitable[PopularityRefresh]]


@pytest.fixture
async def shop(connection: Connection) -> Connection:
    """Three products and a little behaviour."""
    await connection.execute("insert into products (id, title) select 'p' || n, 'tea' from generate_series(1, 3) as n")
    await add(connection, "p1", "p1", "p1", "p2")
    return connection


@pytest.fixture
def refresh(shop: Connection, database_url: str) -> Refresh:
    """Recount the shop's popularity."""
    assert shop is not None
    return lambda: refresh_popularity(StorageSettings(database_url))


async def add(connection: Connection, *product_ids: str, days: float = 0) -> None:
    at = NOON - timedelta(days=days)
    await insert_events(
        connection, [Event(user_id="u", product_id=product, type="view", timestamp=at) for product in product_ids]
    )


async def popular(connection: Connection) -> list[str]:
    rows = await connection.fetch(QUERIES["popular_products"], 3, None, None, None, None)
    return [row["product_id"] for row in rows if row["popularity"] > 0]


async def train(connection: Connection, version: str, half_life_days: float = 30.0) -> None:
    """What a training job writes."""
    async with connection.transaction():
        await connection.execute(QUERIES["lock_popularity"])
        await connection.execute("delete from product_popularity")
        await connection.execute("insert into product_popularity values ('p3', 1, 9, $1)", version)
        await connection.execute(QUERIES["deactivate_popularity"])
        await connection.execute(QUERIES["activate_popularity"], version, NOON, half_life_days)


async def versions(connection: Connection) -> list[tuple[str, bool]]:
    return [
        tuple(row)
        for row in await connection.fetch("select version, active from popularity_versions order by created_at")
    ]


class TestRefreshPopularity:
    async def test_events_change_what_is_popular(self, shop: Connection, refresh: Refresh) -> None:
        first = await refresh()
        assert await popular(shop) == ["p1", "p2"]
        await add(shop, *["p3"] * 7)
        second = await refresh()
        assert await popular(shop) == ["p3", "p1", "p2"]
        assert (first.products, second.products) == (2, 3)
        assert await versions(shop) == [(first.version, False), (second.version, True)]
        assert (first.version or "") < (second.version or "")

    async def test_where_nothing_is_new_the_version_stays(self, shop: Connection, refresh: Refresh) -> None:
        first = await refresh()
        rows = await shop.fetch("select xmin::text, * from product_popularity order by product_id")
        again = await refresh()
        assert (again.version, again.changed) == (first.version, 0)
        assert await shop.fetch("select xmin::text, * from product_popularity order by product_id") == rows

    async def test_only_rows_that_moved_are_written(self, shop: Connection, refresh: Refresh) -> None:
        await add(shop, *["p3"] * 2000)
        first = await refresh()
        await add(shop, "p2")
        second = await refresh()
        assert (second.changed, second.version != first.version) == (1, True)

    async def test_a_product_whose_events_are_gone_is_forgotten(self, shop: Connection, refresh: Refresh) -> None:
        await refresh()
        await shop.execute("delete from products where id = 'p2'")
        assert (await refresh()).changed == 1
        assert await popular(shop) == ["p1"]

    async def test_a_leap_in_time_does_not_forget_what_was_popular(self, shop: Connection, refresh: Refresh) -> None:
        await shop.execute("update events set occurred_at = occurred_at - interval '1000 days'")
        await refresh()
        await add(shop, *["p3"] * 2000)
        await refresh()
        assert await popular(shop) == ["p3", "p1", "p2"]

    async def test_the_half_life_in_force_stays(self, shop: Connection, refresh: Refresh) -> None:
        await train(shop, "trained", half_life_days=1.0)
        await add(shop, *["p2"] * 8, days=3)
        await refresh()
        rows = await shop.fetch("select product_id, weighted_count from product_popularity order by product_id")
        assert [tuple(row) for row in rows] == [("p1", 3.0), ("p2", 2.0)]
        assert await shop.fetchval("select half_life_days from popularity_versions where active") == 1.0

    async def test_the_version_of_a_training_job_stays_until_events_come(
        self, shop: Connection, refresh: Refresh
    ) -> None:
        await refresh()
        await shop.execute("update popularity_versions set version = 'trained'")
        assert (await refresh()).version == "trained"
        await add(shop, *["p3"] * 7)
        assert (await refresh()).version != "trained"

    async def test_without_events_everything_stays(self, shop: Connection, refresh: Refresh) -> None:
        await train(shop, "trained")
        await shop.execute("truncate events")
        found = await refresh()
        assert (found.version, found.products, found.changed) == ("trained", 0, 0)
        assert await popular(shop) == ["p3"]

    async def test_old_versions_are_pruned(
        self, shop: Connection, refresh: Refresh, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(popularity, "KEPT_VERSIONS", 2)
        made = []
        for _ in range(4):
            await add(shop, *["p3"] * 7)
            made.append((await refresh()).version)
        assert [version for version, _ in await versions(shop)] == made[1:]

    async def test_without_a_primary_there_is_advice(self) -> None:
        with pytest.raises(DatabaseUnavailable, match="primary"):
            await refresh_popularity(StorageSettings("postgresql://shortlist@/shortlist?host=/nonexistent&port=5432"))


class TestBesideATrainingJob:
    async def test_a_version_that_comes_into_force_meanwhile_is_not_overwritten(
        self, shop: Connection, refresh: Refresh, database_url: str
    ) -> None:
        """The job holds the lock while the recount is under way, and commits before it writes."""
        job = await asyncpg.connect(database_url)
        try:
            transaction = job.transaction()
            await transaction.start()
            await job.execute(QUERIES["lock_popularity"])
            recount = asyncio.create_task(asyncio.wait_for(refresh(), 30))
            async with asyncio.timeout(30):
                while not await shop.fetchval(WAITING):  # noqa: ASYNC110 - nobody could tell an event
                    await asyncio.sleep(0.01)
            await train(job, "trained")
            await transaction.commit()
        finally:
            await job.close()
        found = await recount
        assert (found.superseded, found.version) == (True, "trained")
        assert await popular(shop) == ["p3"]
        assert not (await refresh()).superseded

    async def test_nobody_sees_half_of_a_recount(
        self, shop: Connection, refresh: Refresh, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = await refresh()
        before = await shop.fetch("select * from product_popularity order by product_id")
        await add(shop, *["p3"] * 7)
        monkeypatch.setattr(popularity, "KEPT_VERSIONS", "no number, so that the last statement fails")
        with pytest.raises(asyncpg.DataError):
            await refresh()
        assert await shop.fetch("select * from product_popularity order by product_id") == before
        assert await versions(shop) == [(first.version, True)]


class TestOnAReplica:
    async def test_a_replica_counts_and_the_primary_is_written(
        self, shop: Connection, servers: Servers, database_url: str
    ) -> None:
        servers.replay()
        settings = StorageSettings(database_url, (servers.replica_url_of(database_url),))
        assert (await refresh_popularity(settings)).read_from == "replica-1"
        assert await popular(shop) == ["p1", "p2"]

    async def test_one_that_does_not_answer_is_passed_over(self, shop: Connection, database_url: str) -> None:
        settings = StorageSettings(database_url, ("postgresql://shortlist@/shortlist?host=/nonexistent&port=5432",))
        assert (await refresh_popularity(settings)).read_from == "primary"
        assert await popular(shop) == ["p1", "p2"]

    @pytest.mark.usefixtures("shop")
    async def test_one_that_lags_is_passed_over(
        self, connection: Connection, servers: Servers, database_url: str
    ) -> None:
        """Another database stands for a replica that has not seen the heartbeats of a day."""
        await connection.execute("update heartbeat set beat_at = clock_timestamp() + interval '1 day'")
        settings = StorageSettings(database_url, (servers.replica.url(),))
        assert (await refresh_popularity(settings)).read_from == "primary"


class TestNewPopularityVersion:
    def test_later_ones_sort_after_earlier_ones(self) -> None:
        moments = [NOON + timedelta(microseconds=each) for each in (0, 1, 999_999, 1_000_000)]
        names = [new_popularity_version(moment) for moment in moments]
        assert names == sorted(set(names))
