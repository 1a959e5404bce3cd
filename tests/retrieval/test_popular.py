from __future__ import annotations

import pytest

from contracts.requests import ReadRequest
from retrieval.popular import PopularRetriever
from storage.cache import Cache
from storage.database import Database
from tests.retrieval.statements import statements
from tests.small_catalogue import kept, redis_of

__all__ = ["statements"]

ANYTHING = ReadRequest()


async def ids(retriever: PopularRetriever, request: ReadRequest = ANYTHING) -> list[str]:
    return (await retriever.retrieve(request)).retrieved.product_ids


async def change(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(statement)


class TestPopularRetriever:
    async def test_a_list_is_read_once(self, database: Database, cache: Cache, statements: list[str]) -> None:
        retriever = PopularRetriever(database, cache, limit=10)
        first, second = await retriever.retrieve(ANYTHING), await retriever.retrieve(ANYTHING)
        assert (first.retrieved.source, second.retrieved.source) == ("primary", "redis")
        assert second.retrieved.product_ids == first.retrieved.product_ids == ["p2", "p3", "p1", "p5"]
        assert second.retrieved.scores.tolist() == first.retrieved.scores.tolist()
        assert second.retrieved.revisions == first.retrieved.revisions
        assert statements.count("popular_products") == 1
        assert (cache.stats()["popular_lists"].hits, cache.stats()["popular_lists"].misses) == (1, 1)

    async def test_it_knows_the_revision_of_each_product(self, database: Database, cache: Cache) -> None:
        found = (await PopularRetriever(database, cache, limit=10).retrieve(ANYTHING)).retrieved
        rows = (await database.fetch("product_features", found.product_ids)).records
        assert found.revisions == {row["product_id"]: row["revision"] for row in rows}

    @pytest.mark.parametrize(
        "statement",
        [
            "delete from products where id = 'p2'",
            "update products set in_stock = false where id = 'p2'",
            "update products set hidden = true where id = 'p2'",
        ],
        ids=["deleted", "sold out", "hidden"],
    )
    async def test_a_change_of_the_catalogue_ends_the_list(
        self, own_database: Database, cache: Cache, statement: str
    ) -> None:
        retriever = PopularRetriever(own_database, cache, limit=10)
        assert await ids(retriever) == ["p2", "p3", "p1", "p5"]
        await change(own_database, statement)
        assert await ids(retriever) == ["p3", "p1", "p5"]

    async def test_another_popularity_ends_the_list(self, own_database: Database, cache: Cache) -> None:
        retriever = PopularRetriever(own_database, cache, limit=10)
        await ids(retriever)
        await change(
            own_database,
            "update product_popularity set popularity = 1 where product_id = 'p1';"
            "update popularity_versions set active = false;"
            "insert into popularity_versions values ('pop-2', '2026-01-12', 30, true)",
        )
        assert (await ids(retriever))[0] == "p1"

    async def test_each_filter_has_a_list_of_its_own(self, own_database: Database, cache: Cache) -> None:
        await change(own_database, "update products set category = 'None' where id = 'p1'")
        retriever = PopularRetriever(own_database, cache, limit=10)
        for _ in range(2):
            assert await ids(retriever) == ["p2", "p3", "p1", "p5"]
            assert await ids(retriever, ReadRequest(category="None")) == ["p1"]
            assert await ids(retriever, ReadRequest(in_stock=False)) == ["p4"]
            assert await ids(retriever, ReadRequest(price_max=2)) == ["p2", "p1"]
            assert await ids(retriever, ReadRequest(price_min=2)) == ["p3", "p5"]

    async def test_with_a_consistency_token_the_cache_is_neither_read_nor_filled(
        self, own_database: Database, cache: Cache
    ) -> None:
        careful = ReadRequest(consistency_token=await own_database.consistency_token())
        found = await PopularRetriever(own_database, cache, limit=10).retrieve(careful)
        assert (found.cache.status, found.cache.cause) == ("skipped", "not_requested")
        assert await kept(cache) == []

    @pytest.mark.parametrize("garbage", [b"", b"{}", b"[1]", b'[["p1"]]', b'[["p1", 0.2, "x"]]', b'[["p1", 0.2, 17'])
    async def test_garbage_is_read_again_and_overwritten(
        self, database: Database, cache: Cache, garbage: bytes
    ) -> None:
        retriever = PopularRetriever(database, cache, limit=10)
        await ids(retriever)
        (key,) = await kept(cache, "popular_lists:")
        await redis_of(cache).set(key, garbage)
        assert await ids(retriever) == ["p2", "p3", "p1", "p5"]
        assert (await retriever.retrieve(ANYTHING)).retrieved.source == "redis"

    async def test_a_list_is_kept_for_five_minutes(self, database: Database, cache: Cache) -> None:
        await ids(PopularRetriever(database, cache, limit=10))
        (key,) = await kept(cache, "popular_lists:")
        assert 290_000 < await redis_of(cache).pttl(key) <= 300_000

    async def test_without_a_cache_the_stage_says_that_none_was_asked(self, database: Database) -> None:
        found = await PopularRetriever(database, Cache(None), limit=10).retrieve(ANYTHING)
        assert (found.cache.status, found.cache.cause) == ("skipped", "not_requested")
