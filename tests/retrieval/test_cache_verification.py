from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from redis.asyncio import Redis

from contracts.candidates import Retrieved
from contracts.requests import RecommendationRequest, SearchRequest
from retrieval.attribute_cache import AttributeCache
from retrieval.cache_verification import Counts, verify
from retrieval.fusion import fuse
from retrieval.hydration import Hydrator
from retrieval.popular import PopularRetriever
from storage.cache import Cache
from storage.database import Database, Rows
from storage.errors import EpochMoved
from storage.former_keys import FormerKeys, former_keys
from storage.key_epoch import EPOCH_KEY
from tests.retrieval.statements import statements
from tests.servers import Servers
from tests.small_catalogue import TITLES, kept, redis_of, stored

__all__ = ["statements"]

IDS = list(TITLES)
REQUEST = SearchRequest(q="anything")


class Primary:
    """The catalogue, as the verification reads it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fetch(self, query_name: str, *args: object) -> Rows:
        return await self._database.fetch(query_name, *args)


class Site:
    """A process that fills the cache and has its features from it."""

    def __init__(self, database: Database, cache: Cache) -> None:
        self.cache = cache
        self.database = database
        self._hydrator = Hydrator(database, cache)

    async def fill(self) -> None:
        rows = await self.database.fetch("product_features", IDS)
        self.revisions = {row["product_id"]: row["revision"] for row in rows.records}
        await self.hydrate()
        attributes = AttributeCache(self.cache)
        attributes.start()
        await Hydrator(self.database, attributes=attributes).products(IDS, request=REQUEST)
        await attributes.flush()
        await attributes.stop()
        await PopularRetriever(self.database, self.cache, limit=10).retrieve(RecommendationRequest())

    async def hydrate(self) -> None:
        found = fuse([Retrieved("keyword", IDS, np.ones(len(IDS)), truncated=False, source="test")])
        await self._hydrator.candidates(found, request=REQUEST, relevance=True, revisions=self.revisions)

    async def lose_redis(self) -> None:
        self.cache._epoch.lost()
        await self.cache.get_many(["anything"])

    async def verify(self, former: FormerKeys) -> dict[str, Counts]:
        return await verify(former, Primary(self.database))

    async def change(self, statement: str) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(statement)


@pytest.fixture
async def site(own_database: Database, cache: Cache) -> Site:
    site = Site(own_database, cache)
    await site.fill()
    return site


class TestVerify:
    async def test_what_is_true_still_is_in_use_again_with_the_time_it_had_left(
        self, site: Site, servers: Servers, statements: list[str]
    ) -> None:
        redis = redis_of(site.cache)
        await redis.pexpire(stored(site.cache, "popularity:pop-1:p1"), 100_000)
        await site.lose_redis()
        async with former_keys(servers.redis_url) as former:
            counts = await site.verify(former)
        # p4 is out of stock, and so was not shown.
        assert counts == {
            "features": Counts(carried=5),
            "popularity": Counts(carried=5),
            "attributes": Counts(carried=4),
            "popular_lists": Counts(deleted=1),
        }
        assert 0 < await redis.pttl(stored(site.cache, "popularity:pop-1:p1")) <= 100_000
        statements.clear()
        await site.hydrate()
        assert statements == ["catalogue_position"]
        assert set(await AttributeCache(site.cache).read(IDS)) == {"p1", "p2", "p3", "p5"}

    async def test_what_has_changed_meanwhile_is_deleted(self, site: Site, servers: Servers) -> None:
        await site.lose_redis()
        await site.change("update products set price = 99 where id = 'p1'")
        await site.change("delete from products where id = 'p2'")
        await site.change("update products set hidden = true where id = 'p3'")
        async with former_keys(servers.redis_url) as former:
            counts = await site.verify(former)
        assert counts["features"] == Counts(carried=2, deleted=3)
        assert counts["attributes"] == Counts(carried=1, deleted=3)
        assert set(await AttributeCache(site.cache).read(IDS)) == {"p5"}

    async def test_popularity_of_another_version_is_deleted(self, site: Site, servers: Servers) -> None:
        await site.lose_redis()
        await site.change("update product_popularity set popularity = 0.3 where product_id = 'p1'")
        async with former_keys(servers.redis_url) as former:
            assert (await site.verify(former))["popularity"] == Counts(carried=4, deleted=1)
        await site.lose_redis()
        await site.change("update popularity_versions set active = false")
        async with former_keys(servers.redis_url) as former:
            assert (await site.verify(former))["popularity"] == Counts(deleted=4)

    @pytest.mark.parametrize("garbage", [b"", b"{", b"null", b"[1, {}]", b"\xff"])
    async def test_garbage_and_unknown_keys_are_deleted(self, site: Site, servers: Servers, garbage: bytes) -> None:
        for key in (
            f"features:1:p1:{site.revisions['p1']}",
            "popularity:pop-1:p1",
            "attributes:1:p1",
            "features",
            "x:y",
        ):
            await redis_of(site.cache).set(stored(site.cache, key), garbage)
        await redis_of(site.cache).rpush(stored(site.cache, "features:1:list:1"), "a list")
        await redis_of(site.cache).set("somebody elses", "v")
        await site.lose_redis()
        async with former_keys(servers.redis_url) as former:
            counts = await site.verify(former)
        assert counts["attributes"] == Counts(carried=3, deleted=1)
        assert counts["x"] == Counts(deleted=1)
        assert counts["features"] == Counts(carried=4, deleted=3)
        assert all(str(site.cache.key_epoch) in name for name in await kept(site.cache))
        assert await redis_of(site.cache).get("somebody elses") == b"v"

    async def test_what_was_kept_since_is_not_overwritten(self, site: Site, servers: Servers) -> None:
        await site.lose_redis()
        await site.cache.set_many({"popularity:pop-1:p1": b"0.25"}, 60)
        async with former_keys(servers.redis_url) as former:
            assert (await site.verify(former))["popularity"] == Counts(carried=4, superseded=1)
        assert await site.cache.get_many(["popularity:pop-1:p1"]) == [b"0.25"]

    async def test_keys_of_the_epoch_in_force_are_left_alone(self, site: Site, servers: Servers) -> None:
        before = sorted(await kept(site.cache))
        async with former_keys(servers.redis_url) as former:
            assert await site.verify(former) == {}
        assert sorted(await kept(site.cache)) == before

    async def test_when_redis_goes_away_once_more_nothing_is_carried_over(self, site: Site, servers: Servers) -> None:
        await site.lose_redis()
        async with former_keys(servers.redis_url) as former:
            await site.lose_redis()
            with pytest.raises(EpochMoved, match="away again"):
                await site.verify(former)
        assert await kept(site.cache)
        assert not [name for name in await kept(site.cache) if str(site.cache.key_epoch) in name]

    async def test_ids_may_hold_colons(self, site: Site, servers: Servers) -> None:
        await site.change("insert into products (id, title) values ('a:b:1', 'odd'), ('a', 'even')")
        site.revisions["a:b:1"] = (await site.database.fetch("product_features", ["a:b:1"])).records[0]["revision"]
        IDS.append("a:b:1")
        try:
            await site.hydrate()
        finally:
            IDS.remove("a:b:1")
        await site.lose_redis()
        async with former_keys(servers.redis_url) as former:
            counts = await site.verify(former)
        assert counts["features"] == Counts(carried=6)
        assert counts["popularity"] == Counts(carried=6)

    async def test_many_keys_are_looked_at_some_at_a_time(self, site: Site, servers: Servers) -> None:
        for start in range(0, 20_000, 5000):
            await site.cache.set_many({f"results:1:{number}": b"{}" for number in range(start, start + 5000)}, 600)
        await site.lose_redis()
        seen: list[int] = []
        async with former_keys(servers.redis_url) as former:
            counts = await verify(former, Primary(site.database), told=seen.append)
        assert counts["results"].deleted == 20_000
        assert len(seen) > 10


class TestTheCommand:
    def run(self, **servers: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SHORTLIST_")}
        return subprocess.run(
            [sys.executable, "-m", "retrieval.cache_verification", "--json"],
            env=environment | servers, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    async def test_it_tells_what_it_did(self, site: Site, servers: Servers, database_url: str) -> None:
        await site.lose_redis()
        done = self.run(SHORTLIST_DATABASE_URL=database_url, SHORTLIST_REDIS_URL=servers.redis_url)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert report["key_epoch"] == site.cache.key_epoch
        assert report["purposes"]["attributes"] == {"carried": 4, "superseded": 0, "deleted": 0}
        again = self.run(SHORTLIST_DATABASE_URL=database_url, SHORTLIST_REDIS_URL=servers.redis_url)
        assert json.loads(again.stdout)["purposes"] == {}

    async def test_without_the_database_everything_stays(self, site: Site, servers: Servers, tmp_path: Path) -> None:
        await site.lose_redis()
        before = sorted(await kept(site.cache))
        done = self.run(
            SHORTLIST_DATABASE_URL=f"postgresql://nobody@/nothing?host={tmp_path}",
            SHORTLIST_REDIS_URL=servers.redis_url,
        )
        assert done.returncode == 1
        assert "primary does not answer" in json.loads(done.stdout)["error"]
        assert sorted(await kept(site.cache)) == before

    def test_without_redis_it_says_so(self, database_url: str) -> None:
        done = self.run(SHORTLIST_DATABASE_URL=database_url, SHORTLIST_REDIS_URL="unix:///nonexistent.sock")
        assert done.returncode == 1
        assert "Redis does not answer" in done.stderr
        assert self.run(SHORTLIST_DATABASE_URL=database_url).returncode == 2
        assert self.run().returncode == 2


async def test_a_server_without_an_epoch_gets_one(cache: Cache, servers: Servers) -> None:
    redis: Redis = redis_of(cache)
    async with former_keys(servers.redis_url) as former:
        assert await redis.get(EPOCH_KEY) == former.epoch.encode()
