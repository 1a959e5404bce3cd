from __future__ import annotations

import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from catalogue.events import Event
from catalogue.store import insert_events
from contracts.candidates import Retrieval
from contracts.requests import RecommendationRequest
from contracts.stages import Stage
from retrieval.config import RetrievalConfig
from retrieval.live_catalogue import LiveCatalogue
from retrieval.recommendation import RecommendationRetrieval
from storage.breakers import Breakers
from storage.cache import Cache
from storage.database import Database
from storage.settings import StorageSettings


def stages(retrieval: Retrieval) -> dict[str, Stage]:
    return {stage.name: stage for stage in retrieval.stages}


def best(retrieval: Retrieval, retriever: str) -> list[str]:
    placing = retrieval.candidates.placings[retriever]  # type: ignore[index]
    placed = sorted((rank, row) for row, rank in enumerate(placing.ranks) if rank > 0)
    return [retrieval.candidates.product_ids[row] for _, row in placed]


@pytest.fixture
async def retrieval(
    database: Database,
    cache: Cache,
    factors: ActiveArtifact[Factors],
    embeddings: ActiveArtifact[EmbeddingIndex],
) -> RecommendationRetrieval:
    return RecommendationRetrieval(
        database, cache, RetrievalConfig(), factors=factors, catalogue=LiveCatalogue(database, embeddings)
    )


async def recommend(retrieval: RecommendationRetrieval, **fields: object) -> Retrieval:
    return await retrieval.retrieve(RecommendationRequest.model_validate(fields), timeout_s=10)


class TestForUser:
    async def test_users_get_what_they_like(self, retrieval: RecommendationRetrieval) -> None:
        assert best(await recommend(retrieval, user_id="drinker"), "collaborative")[:2] == ["p1", "p2"]
        assert best(await recommend(retrieval, user_id="viewer"), "collaborative")[:2] == ["p3", "p4"]

    async def test_the_profile_travels_with_its_version(
        self, retrieval: RecommendationRetrieval, factors: ActiveArtifact[Factors]
    ) -> None:
        profile = (await recommend(retrieval, user_id="drinker")).profile
        assert profile is not None
        assert profile.vector is not None
        assert factors.current is not None
        assert (profile.vector.tolist(), profile.version) == ([1.0, 0.0], factors.current.version)

    async def test_what_the_user_bought_or_rated_is_left_out(
        self,
        own_database: Database,
        cache: Cache,
        factors: ActiveArtifact[Factors],
    ) -> None:
        events = [
            Event(user_id="drinker", product_id="p1", type="purchase"),
            Event(user_id="drinker", product_id="p2", type="view"),
        ]
        async with own_database.transaction() as connection:
            await insert_events(connection, events)
        retrieval = RecommendationRetrieval(own_database, cache, RetrievalConfig(), factors=factors)
        found = await recommend(retrieval, user_id="drinker")
        assert best(found, "collaborative")[0] == "p2"
        assert found.profile is not None
        assert found.profile.owned == {"p1"}

    async def test_excluded_products_leave_room_for_others(self, retrieval: RecommendationRetrieval) -> None:
        found = await recommend(retrieval, user_id="drinker", exclude_ids=["p1"])
        assert best(found, "collaborative")[0] == "p2"

    async def test_an_unknown_user_gets_popular_products_and_the_stages_say_so(
        self, retrieval: RecommendationRetrieval
    ) -> None:
        found = await recommend(retrieval, user_id="nobody")
        stage = stages(found)["collaborative"]
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "popular", "unknown_user")
        assert not any(stage.degraded for stage in found.stages)
        assert best(found, "popular")[:2] == ["p2", "p3"]


class TestSimilar:
    async def test_neighbours_come_from_both_spaces(self, retrieval: RecommendationRetrieval) -> None:
        found = await recommend(retrieval, product_ids=["p1"])
        assert best(found, "similar")[0] in {"p2", "p5"}
        assert stages(found)["similar"].source == "factors+faiss"
        assert "p1" not in found.candidates.product_ids

    async def test_a_product_too_new_for_the_factors_is_placed_by_its_text(
        self, retrieval: RecommendationRetrieval
    ) -> None:
        assert best(await recommend(retrieval, product_ids=["p5"]), "similar")[0] == "p1"

    async def test_products_nothing_is_like_give_popular_ones(self, retrieval: RecommendationRetrieval) -> None:
        found = await recommend(retrieval, product_ids=["unheard of"])
        stage = stages(found)["similar"]
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "popular", "no_match")
        assert best(found, "popular")[0] == "p2"


class TestPopular:
    async def test_is_in_stock_and_most_popular_first(self, retrieval: RecommendationRetrieval) -> None:
        assert best(await recommend(retrieval), "popular") == ["p2", "p3", "p1", "p5"]

    async def test_the_list_comes_from_the_cache_until_the_catalogue_changes(
        self, own_database: Database, cache: Cache
    ) -> None:
        retrieval = RecommendationRetrieval(own_database, cache, RetrievalConfig())
        await recommend(retrieval)
        assert stages(await recommend(retrieval))["popular"].source == "redis"
        async with own_database.transaction() as connection:
            await connection.execute("delete from products where id = 'p2'")
        found = await recommend(retrieval)
        assert stages(found)["popular"].source == "primary"
        assert best(found, "popular")[0] == "p3"

    async def test_what_is_out_of_stock_is_there_when_asked_for(self, retrieval: RecommendationRetrieval) -> None:
        assert best(await recommend(retrieval, in_stock=False), "popular") == ["p4"]

    async def test_a_price_narrows_it(self, retrieval: RecommendationRetrieval) -> None:
        assert best(await recommend(retrieval, price_min=1.95, price_max=2.95), "popular") == ["p2", "p3"]

    async def test_a_category_narrows_it(self, retrieval: RecommendationRetrieval) -> None:
        assert best(await recommend(retrieval, category="Films"), "popular") == ["p3"]

    async def test_without_a_cache_the_database_answers(self, database: Database, tmp_path: object) -> None:
        down = Cache(f"unix://{tmp_path}/nothing.sock")
        found = await recommend(RecommendationRetrieval(database, down, RetrievalConfig()))
        stage = stages(found)["cache"]
        assert (stage.status, stage.cause, stage.may_change_hits) == ("fallback", "unavailable", False)
        assert best(found, "popular")[0] == "p2"


class TestWhatIsLeft:
    @pytest.fixture
    def without_model(self, database: Database, cache: Cache) -> RecommendationRetrieval:
        return RecommendationRetrieval(database, cache, RetrievalConfig())

    async def test_without_a_model_a_user_gets_popular_products(self, without_model: RecommendationRetrieval) -> None:
        found = await recommend(without_model, user_id="drinker")
        stage = stages(found)["collaborative"]
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "popular", "artifact_missing")
        assert stage.degraded

    async def test_popular_products_answer_any_request_and_name_what_the_user_owns(
        self, own_database: Database, cache: Cache
    ) -> None:
        async with own_database.transaction() as connection:
            await insert_events(connection, [Event(user_id="drinker", product_id="p2", type="purchase")])
        request = RecommendationRequest(user_id="drinker")
        retrieval = RecommendationRetrieval(own_database, cache, RetrievalConfig())
        found = await retrieval.popular(request, timeout_s=10)
        assert best(found, "popular")[0] == "p2"
        assert found.profile is not None
        assert found.profile.owned == {"p2"}, "ranking leaves it out"

    async def test_in_the_popular_list_an_owner_that_cannot_be_read_is_told_whatever_the_cause(
        self, catalogue_url: str, cache: Cache
    ) -> None:
        breakers = Breakers()
        database = Database(StorageSettings(catalogue_url), application="tests", breakers=breakers)
        await database.start()
        retrieval = RecommendationRetrieval(database, cache, RetrievalConfig())
        request = RecommendationRequest(user_id="drinker")
        assert "profile" not in stages(await retrieval.popular(request, timeout_s=10)), "it was read"
        breaker = breakers.of("postgres:primary")
        for _ in range(breaker.rules.consecutive):
            breaker.admit().failed()
        found = await retrieval.popular(request, timeout_s=10)
        await database.close()
        assert stages(found)["profile"].cause == "circuit_open"

    async def test_without_a_database_the_model_still_answers(
        self,
        broken_database: Database,
        cache: Cache,
        factors: ActiveArtifact[Factors],
    ) -> None:
        retrieval = RecommendationRetrieval(broken_database, cache, RetrievalConfig(), factors=factors)
        found = await recommend(retrieval, user_id="drinker")
        assert found.answered
        assert best(found, "collaborative")[0] == "p1"
        assert stages(found)["profile"].cause == "unavailable"
