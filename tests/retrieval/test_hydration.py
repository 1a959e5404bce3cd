from __future__ import annotations

import asyncio

import numpy as np
import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from catalogue.products import Product
from contracts.candidates import Candidates, Retrieved
from contracts.requests import RecommendationRequest, SearchRequest
from retrieval.config import RetrievalConfig
from retrieval.fusion import Fused, fuse
from retrieval.hydration import Hydrated, Hydrator
from retrieval.recommendation import RecommendationRetrieval
from retrieval.search import SearchRetrieval
from storage.cache import Cache
from storage.database import Database
from tests.retrieval.statements import statements
from tests.small_catalogue import kept, redis_of, stored

__all__ = ["statements"]

ANYTHING = SearchRequest(q="anything")
IDS = ["p1", "p2", "p4", "gone"]


def found(*product_ids: str) -> Fused:
    return fuse([Retrieved("keyword", list(product_ids), np.ones(len(product_ids)), truncated=False, source="test")])


async def revisions(database: Database) -> dict[str, int]:
    rows = await database.fetch("product_features", IDS)
    return {row["product_id"]: row["revision"] for row in rows.records}


async def change(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(statement)


async def hydrated(
    hydrator: Hydrator, known: dict[str, int] | None = None, request: SearchRequest = ANYTHING
) -> Hydrated:
    return await hydrator.candidates(found(*IDS), request=request, relevance=True, revisions=known)


def features(candidates: Candidates) -> dict[str, tuple[float, float, bool, bool]]:
    return {
        product_id: (
            round(candidates.popularity[row], 3),
            candidates.age_days[row],
            bool(candidates.in_stock[row]),
            bool(candidates.hidden[row]),
        )
        for row, product_id in enumerate(candidates.product_ids)
    }


AS_WRITTEN = {"p1": (0.2, 10.0, True, False), "p2": (0.9, 9.0, True, False), "p4": (0.5, 7.0, False, False)}

CATEGORIES = ["Drinks", "Drinks", "Films"]


class TestCandidates:
    async def test_features_are_the_same_from_the_database_and_from_the_cache(
        self, database: Database, cache: Cache, statements: list[str]
    ) -> None:
        hydrator = Hydrator(database, cache)
        known = await revisions(database)
        first = await hydrated(hydrator, known)
        statements.clear()
        second = await hydrated(hydrator, known)
        assert features(first.candidates) == features(second.candidates) == AS_WRITTEN
        assert first.candidates.categories == second.candidates.categories == CATEGORIES
        assert (first.from_cache, second.from_cache) == (False, True)
        # "gone" has no revision anybody knows, so it is looked for each time.
        assert statements == ["catalogue_position", "product_features"]

    async def test_a_product_whose_revision_nobody_knows_is_read_from_the_database(
        self, own_database: Database, cache: Cache
    ) -> None:
        hydrator = Hydrator(own_database, cache)
        await hydrated(hydrator)
        await change(own_database, "update products set in_stock = false where id = 'p1'")
        assert features((await hydrated(hydrator)).candidates)["p1"] == (0.2, 10.0, False, False)

    async def test_a_newer_revision_is_never_answered_with_an_older_state(
        self, own_database: Database, cache: Cache
    ) -> None:
        hydrator = Hydrator(own_database, cache)
        await hydrated(hydrator, await revisions(own_database))
        # Plain SQL, which says nothing of updated_at.
        await change(own_database, "update products set hidden = true, price = 9 where id = 'p1'")
        known = await revisions(own_database)
        assert features((await hydrated(hydrator, known)).candidates)["p1"] == (0.2, 10.0, True, True)
        cheap = SearchRequest(q="anything", price_max=8)
        assert "p1" not in (await hydrated(hydrator, known, cheap)).candidates.product_ids

    async def test_a_read_that_lags_is_kept_under_the_revision_it_saw(
        self, own_database: Database, cache: Cache
    ) -> None:
        hydrator = Hydrator(own_database, cache)
        before = await revisions(own_database)
        # A retriever knows the next state of the product already, the database that is read does not.
        ahead = before | {"p1": before["p1"] + 1}
        await hydrated(hydrator, ahead)
        assert await redis_of(cache).exists(stored(cache, f"features:1:p1:{before['p1']}"))
        assert not await redis_of(cache).exists(stored(cache, f"features:1:p1:{before['p1'] + 1}"))

    async def test_a_product_that_is_gone_is_no_candidate(self, database: Database, cache: Cache) -> None:
        known = await revisions(database) | {"gone": 1}
        assert (await hydrated(Hydrator(database, cache), known)).candidates.product_ids == ["p1", "p2", "p4"]

    async def test_popularity_belongs_to_its_version(self, own_database: Database, cache: Cache) -> None:
        hydrator = Hydrator(own_database, cache)
        await hydrated(hydrator)
        await change(
            own_database,
            "update popularity_versions set active = false;"
            "insert into popularity_versions values ('pop-2', '2026-01-12', 30, true);"
            "update product_popularity set popularity = popularity / 2, version = 'pop-2'",
        )
        found = await hydrated(hydrator)
        assert found.epoch.popularity == "pop-2"
        assert features(found.candidates)["p2"] == (0.45, 10.0, True, False)

    async def test_without_a_popularity_in_force_there_is_none(self, own_database: Database, cache: Cache) -> None:
        await change(own_database, "update popularity_versions set active = false")
        found = await hydrated(Hydrator(own_database, cache))
        assert np.isnan(found.candidates.popularity).all()

    async def test_what_was_never_touched_is_known_not_to_be_popular(
        self, own_database: Database, cache: Cache, statements: list[str]
    ) -> None:
        await change(own_database, "delete from product_popularity")
        hydrator = Hydrator(own_database, cache)
        await hydrated(hydrator)
        statements.clear()
        assert features((await hydrated(hydrator)).candidates)["p2"] == (0.0, 9.0, True, False)
        assert "popularity_features" not in statements

    async def test_popularity_is_kept_for_five_minutes_and_the_rest_for_an_hour(
        self, database: Database, cache: Cache
    ) -> None:
        await hydrated(Hydrator(database, cache))
        redis = redis_of(cache)
        left_s = {
            kind: {await redis.pttl(key) // 1000 for key in await kept(cache, f"{kind}:")}
            for kind in ("popularity", "features")
        }
        assert left_s["popularity"]
        assert left_s["features"]
        assert all(290 <= seconds <= 300 for seconds in left_s["popularity"])
        assert all(3590 <= seconds <= 3600 for seconds in left_s["features"])

    async def test_with_a_consistency_token_the_cache_is_neither_read_nor_filled(
        self, own_database: Database, cache: Cache
    ) -> None:
        token = await own_database.consistency_token()
        careful = SearchRequest(q="anything", consistency_token=token)
        known = await revisions(own_database)
        assert features((await hydrated(Hydrator(own_database, cache), known, careful)).candidates) == AS_WRITTEN
        assert await kept(cache) == []
        assert cache.stats()["features"].misses == 0

    @pytest.mark.parametrize(
        "garbage",
        [
            b"",
            b"[]",
            b"{}",
            b"0.5",
            b'["now", true, false, null, null, null]',
            b'["2026-01-01T00:00:00", 1, 2]',
            b"\xff",
        ],
    )
    async def test_garbage_is_read_again_and_overwritten(
        self, database: Database, cache: Cache, garbage: bytes
    ) -> None:
        hydrator = Hydrator(database, cache)
        known = await revisions(database)
        await hydrated(hydrator, known)
        keys = {f"features:1:p1:{known['p1']}": garbage, "popularity:pop-1:p1": garbage + b"}"}
        await cache.set_many(keys, 60)
        assert features((await hydrated(hydrator, known)).candidates) == AS_WRITTEN
        assert garbage not in await cache.get_many(list(keys))

    async def test_without_the_cache_the_database_answers_and_the_stage_says_so(self, database: Database) -> None:
        hydrator = Hydrator(database, Cache("unix:///nonexistent/valkey.sock"))
        found = await hydrated(hydrator, await revisions(database))
        assert features(found.candidates) == AS_WRITTEN
        assert found.cache is not None
        assert (found.cache.status, found.cache.fallback, found.cache.cause) == ("fallback", "database", "unavailable")
        assert not found.cache.may_change_hits

    async def test_a_cache_that_failed_already_is_not_asked_again(self, database: Database) -> None:
        down = Cache("unix:///nonexistent/valkey.sock")
        found = await Hydrator(database, down).candidates(
            found_nothing := fuse([]), request=ANYTHING, relevance=True, cached=False
        )
        assert len(found.candidates) == len(found_nothing.product_ids) == 0
        assert down.stats()["features"].errors == 0

    async def test_hits_and_misses_are_counted(self, database: Database, cache: Cache) -> None:
        hydrator = Hydrator(database, cache)
        known = await revisions(database)
        await hydrated(hydrator, known)
        await hydrated(hydrator, known)
        stats = cache.stats()
        assert (stats["features"].hits, stats["features"].misses) == (3, 3)
        assert (stats["popularity"].hits, stats["popularity"].misses) == (4, 4)


class TestStatementsOfARequest:
    """One batched read a source: how many there are does not depend on how many candidates there are."""

    @pytest.fixture
    async def shop(self, own_database: Database) -> Database:
        """Five hundred kinds of tea, half of them popular."""
        await change(
            own_database,
            "insert into products (id, title) select 'tea-' || n, 'tea' from generate_series(1, 500) as n;"
            "insert into product_popularity select 'tea-' || n, n / 1000.0, 1, 'pop-1' from generate_series(1, 250) n",
        )
        return own_database

    @pytest.mark.parametrize("cached", [False, True], ids=["without a cache", "with a cache"])
    async def test_a_search_sends_as_many_for_1_candidate_as_for_500(
        self,
        shop: Database,
        cache: Cache,
        embeddings: ActiveArtifact[EmbeddingIndex],
        statements: list[str],
        cached: bool,
    ) -> None:
        async def sent(limit: int) -> list[str]:
            config = RetrievalConfig(keyword_limit=limit, search_limit=1000)
            retrieval = SearchRetrieval(shop, embeddings, config, cache=cache if cached else None)
            statements.clear()
            found = await retrieval.retrieve(SearchRequest(q="tea"), timeout_s=30)
            assert len(found.candidates) >= limit
            await asyncio.sleep(0)
            return sorted(statements)

        few = await sent(1)
        assert few == [
            "catalogue_position",
            "keyword_candidates",
            "keyword_rare_word",
            "popularity_features",
            "product_features",
        ]
        assert await sent(500) == few

    @pytest.mark.parametrize("cached", [False, True], ids=["without a cache", "with a cache"])
    async def test_recommendations_send_as_many_for_1_candidate_as_for_500(
        self,
        shop: Database,
        cache: Cache,
        factors: ActiveArtifact[Factors],
        statements: list[str],
        cached: bool,
    ) -> None:
        async def sent(limit: int) -> list[str]:
            config = RetrievalConfig(popular_limit=limit, collaborative_limit=limit)
            retrieval = RecommendationRetrieval(shop, cache if cached else Cache(None), config, factors=factors)
            statements.clear()
            found = await retrieval.retrieve(RecommendationRequest(user_id="drinker"), timeout_s=30)
            assert len(found.candidates) >= limit
            await asyncio.sleep(0)
            return sorted(statements)

        few = await sent(1)
        assert {"catalogue_position", "popular_products", "popularity_features", "product_features"} <= set(few)
        assert len(few) == len(set(few))
        assert await sent(500) == few

    async def test_what_the_cache_knows_takes_one_statement(
        self, shop: Database, cache: Cache, statements: list[str]
    ) -> None:
        retrieval = RecommendationRetrieval(shop, cache, RetrievalConfig())
        request = RecommendationRequest()
        first = await retrieval.retrieve(request, timeout_s=30)
        statements.clear()
        second = await retrieval.retrieve(request, timeout_s=30)
        assert second.candidates.product_ids == first.candidates.product_ids
        assert len(second.candidates) == 500
        assert statements == ["catalogue_position"]


class TestProducts:
    async def test_products_are_as_clients_see_them(self, database: Database) -> None:
        products, source = await Hydrator(database).products(["p2", "p1", "unheard of"], request=ANYTHING)
        assert source.name == "primary"
        assert sorted(products) == ["p1", "p2"]
        assert products["p2"] == {
            "id": "p2",
            "title": "blue wine",
            "description": None,
            "category": "Drinks",
            "brand": None,
            "price": 1.95,
            "currency": None,
            "in_stock": True,
            "image_url": None,
            "created_at": "2026-01-02T00:00:00+00:00",
            "attributes": {},
        }

    async def test_they_have_exactly_the_fields_of_the_schema(self, database: Database) -> None:
        products, _ = await Hydrator(database).products(["p1"], request=ANYTHING)
        assert products["p1"].keys() == Product.model_fields.keys()

    async def test_they_are_never_read_from_the_cache(self, own_database: Database, cache: Cache) -> None:
        hydrator = Hydrator(own_database, cache)
        await hydrator.products(["p1", "p2"], request=ANYTHING)
        await change(
            own_database, "update products set price = 5 where id = 'p1'; delete from products where id = 'p2'"
        )
        products, _ = await hydrator.products(["p1", "p2"], request=ANYTHING)
        assert {product_id: product["price"] for product_id, product in products.items()} == {"p1": 5.0}

    async def test_one_product_is_read_as_last_written(self, database: Database) -> None:
        hydrator = Hydrator(database)
        product = await hydrator.product_as_written("p3")
        assert product is not None
        assert product["title"] == "red film"
        assert await hydrator.product_as_written("unheard of") is None
