from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest
from ray.exceptions import RayActorError

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from artifacts.store import ArtifactStore
from catalogue.events import Event
from catalogue.store import delete_product, insert_events
from contracts.answers import Answer
from contracts.deadline import Deadline
from contracts.ranked import RankRequest
from contracts.requests import RecommendationRequest, SearchRequest
from contracts.stages import Stage
from contracts.versions import Versions
from deployments.cached_reads import CachedReads
from deployments.config import GraphConfig
from deployments.hop import HopFailed
from deployments.read_path import ReadPath
from deployments.stand_ins import StandIns
from ranking.rankers import WeightedRanker
from retrieval.config import RetrievalConfig
from retrieval.hydration import Hydrator
from retrieval.keyword_search import KeywordSearch
from retrieval.live_catalogue import LiveCatalogue
from retrieval.recommendation import RecommendationRetrieval
from retrieval.search import SearchRetrieval
from storage.cache import Cache
from storage.database import Database
from storage.errors import PoolTimeout
from tests.deployments.handles import Handle, Raise, failing, hanging, hop

CONFIG = RetrievalConfig(min_cosine=-1)
# Nothing here is about speed.
AMPLE_MS = 20_000


@pytest.fixture
def handles(
    database: Database,
    cache: Cache,
    embeddings: ActiveArtifact[EmbeddingIndex],
    factors: ActiveArtifact[Factors],
) -> dict[str, Handle]:
    """Every deployment, well."""
    search = SearchRetrieval(database, embeddings, CONFIG)
    catalogue = LiveCatalogue(database, embeddings)
    recommendation = RecommendationRetrieval(database, cache, CONFIG, factors=factors, catalogue=catalogue)

    async def profile(user_id: str, timeout_s: float, after: str | None) -> object:
        return await recommendation.profile(user_id, timeout_s=timeout_s, after=after)

    async def rank(request: RankRequest) -> object:
        return WeightedRanker().rank(request)

    return {
        "search": Handle("search", retrieve=lambda request, s: search.retrieve(request, timeout_s=s)),
        "recommendation": Handle(
            "recommendation",
            retrieve=lambda request, s: recommendation.retrieve(request, timeout_s=s),
            profile=profile,
        ),
        "ranking": Handle("ranking", rank=rank),
    }


class Frozen(Database):
    """Never answers."""

    async def fetch(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - never returns
        await asyncio.Event().wait()


async def nobody_did_anything(*_: object) -> int:
    return 0


def path(handles: dict[str, Handle], database: Database, cache: Cache, versions: Versions | None = None) -> ReadPath:
    """The read path; it uses the result cache if *versions* are given."""
    return ReadPath(
        search=hop(handles["search"]),
        recommendation=hop(handles["recommendation"]),
        ranking=hop(handles["ranking"]),
        stand_ins=StandIns(
            words=KeywordSearch(database, CONFIG, cache=cache),
            popular=RecommendationRetrieval(database, cache, CONFIG),
        ),
        cached=CachedReads(cache, versions=lambda: versions, event_count=nobody_did_anything),
        hydrator=Hydrator(database),
        config=GraphConfig(),
    )


def stages(answer: Answer) -> dict[str, Stage]:
    return {stage.name: stage for stage in answer.stages}


def ids(answer: Answer) -> list[str]:
    return [hit.product_id for hit in answer.page.hits]


class TestSearched:
    async def test_a_healthy_answer_names_every_stage_once(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        request = SearchRequest(q="red wine", user_id="drinker", timeout_ms=AMPLE_MS)
        answer = await path(handles, database, cache).searched(request, offset=0)
        assert [stage.name for stage in answer.stages] == ["keyword", "semantic", "hydrate", "profile", "rank", "cache"]
        assert not answer.degraded
        assert answer.products is not None
        assert set(ids(answer)) == set(answer.products)

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            (RayActorError, "unavailable"),
            (lambda: ValueError("a mistake of ours"), "unavailable"),
            (lambda: TypeError("what cannot be unpickled arrives as"), "unavailable"),
            (lambda: PoolTimeout("primary", "busy"), "overloaded"),
        ],
        ids=["killed", "mistake", "unpicklable", "busy"],
    )
    async def test_whatever_ranking_raises_popularity_stands_in(
        self, handles: dict[str, Handle], database: Database, cache: Cache, error: Raise, cause: str
    ) -> None:
        handles["ranking"] = Handle("ranking", rank=failing(error))
        answer = await path(handles, database, cache).searched(SearchRequest(q="wine", timeout_ms=AMPLE_MS), offset=0)
        rank = stages(answer)["rank"]
        assert (rank.status, rank.fallback, rank.cause) == ("fallback", "popularity", cause)
        assert ids(answer)[0] == "p2"
        assert answer.may_differ

    async def test_a_ranking_that_hangs_is_given_up_in_time(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        handles["ranking"] = Handle("ranking", rank=hanging)
        answer = await path(handles, database, cache).searched(SearchRequest(q="wine", timeout_ms=3000), offset=0)
        assert stages(answer)["rank"].cause == "timeout"
        assert ids(answer)[0] == "p2"

    async def test_without_recommendation_a_search_is_not_personal(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        handles["recommendation"] = Handle("recommendation", profile=failing(RayActorError))
        request = SearchRequest(q="wine", user_id="drinker", timeout_ms=AMPLE_MS)
        answer = await path(handles, database, cache).searched(request, offset=0)
        assert (stages(answer)["profile"].status, stages(answer)["profile"].cause) == ("skipped", "unavailable")
        assert ids(answer)

    async def test_a_retriever_that_hangs_costs_its_stage_and_not_the_answer(
        self,
        handles: dict[str, Handle],
        database: Database,
        cache: Cache,
        embeddings: ActiveArtifact[EmbeddingIndex],
    ) -> None:
        search = SearchRetrieval(Frozen.__new__(Frozen), embeddings, CONFIG)
        handles["search"] = Handle("search", retrieve=lambda request, s: search.retrieve(request, timeout_s=s))
        answer = await path(handles, database, cache).searched(SearchRequest(q="wine", timeout_ms=5000), offset=0)
        assert (stages(answer)["keyword"].fallback, stages(answer)["keyword"].cause) == ("semantic", "timeout")
        assert ids(answer)


class TestWithoutSearch:
    @pytest.mark.parametrize(
        ("mode", "semantic"),
        [("hybrid", ("skipped", None)), ("semantic", ("fallback", "keyword"))],
    )
    async def test_the_gateway_searches_by_words(
        self,
        handles: dict[str, Handle],
        database: Database,
        cache: Cache,
        mode: Literal["hybrid", "semantic"],
        semantic: tuple[str, str | None],
    ) -> None:
        handles["search"] = Handle("search", retrieve=failing(RayActorError))
        request = SearchRequest(q="red wine", user_id="drinker", mode=mode, timeout_ms=AMPLE_MS)
        answer = await path(handles, database, cache).searched(request, offset=0)
        assert {"p1", "p5"} <= set(ids(answer))
        told = stages(answer)
        assert (told["keyword"].status, told["keyword"].fallback) == ("fallback", "gateway")
        assert (told["semantic"].status, told["semantic"].fallback) == semantic
        assert {told["keyword"].cause, told["semantic"].cause} == {"unavailable"}
        assert (told["rank"].status, told["profile"].cause) == ("ok", None)
        assert answer.may_differ

    async def test_a_search_by_words_alone_loses_nothing(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        request = SearchRequest(q="red", mode="keyword", price_max=3, timeout_ms=AMPLE_MS)
        healthy = await path(handles, database, cache).searched(request, offset=0)
        handles["search"] = Handle("search", retrieve=failing(RayActorError))
        answer = await path(handles, database, cache).searched(request, offset=0)
        assert answer.page == healthy.page
        assert answer.degraded
        assert not answer.may_differ

    async def test_a_search_that_hangs_is_given_up_in_time_for_words(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        handles["search"] = Handle("search", retrieve=hanging)
        answer = await path(handles, database, cache).searched(SearchRequest(q="wine", timeout_ms=3000), offset=0)
        assert stages(answer)["semantic"].cause == "timeout"
        assert ids(answer)

    async def test_search_and_ranking_may_hang_both(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        handles |= {"search": Handle("search", retrieve=hanging), "ranking": Handle("ranking", rank=hanging)}
        answer = await path(handles, database, cache).searched(SearchRequest(q="wine", timeout_ms=5000), offset=0)
        assert {stages(answer)[name].cause for name in ("keyword", "semantic", "rank")} == {"timeout"}
        assert ids(answer)[0] == "p2"
        assert answer.products is not None

    async def test_with_nothing_found_by_words_there_is_nothing_wrong_with_words(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        handles["search"] = Handle("search", retrieve=failing(RayActorError))
        answer = await path(handles, database, cache).searched(
            SearchRequest(q="xylophone", timeout_ms=AMPLE_MS), offset=0
        )
        assert answer.answered
        assert ids(answer) == []
        assert stages(answer)["keyword"].fallback == "gateway"

    async def test_a_search_that_could_ask_nothing_is_made_again_by_words(
        self,
        handles: dict[str, Handle],
        database: Database,
        cache: Cache,
        store: ArtifactStore,
    ) -> None:
        unread = ActiveArtifact("embeddings", EmbeddingIndex.load, store)
        search = SearchRetrieval(Frozen.__new__(Frozen), unread, CONFIG)
        handles["search"] = Handle("search", retrieve=lambda request, s: search.retrieve(request, timeout_s=s))
        answer = await path(handles, database, cache).searched(SearchRequest(q="wine", timeout_ms=5000), offset=0)
        told = stages(answer)
        assert ids(answer)
        assert (told["keyword"].fallback, told["keyword"].cause) == ("gateway", "timeout")
        assert told["semantic"].cause == "artifact_missing"
        assert told["hydrate"].cause is None

    async def test_one_that_had_too_much_to_do_is_not_asked_for_more(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        class Full(Database):
            async def fetch(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - never returns
                raise PoolTimeout("primary", "busy")

        words = KeywordSearch(Full.__new__(Full), CONFIG)
        handles["search"] = Handle(
            "search", retrieve=lambda request, s: words.instead(request, by="x", cause="timeout", timeout_s=s)
        )
        answer = await path(handles, database, cache).searched(SearchRequest(q="wine", mode="keyword"), offset=0)
        assert not answer.answered
        assert stages(answer)["keyword"].cause == "overloaded"

    async def test_a_late_answer_is_better_than_none(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        request = SearchRequest(q="wine", timeout_ms=20_000)
        reads = path(handles, database, cache)
        found = await reads.stand_ins.search(request, HopFailed("search", "timeout", 1.0), Deadline.in_seconds(-1))
        assert found.answered

    async def test_without_a_database_either_there_is_nothing_to_show(
        self, handles: dict[str, Handle], broken_database: Database, cache: Cache
    ) -> None:
        handles["search"] = Handle("search", retrieve=failing(RayActorError))
        answer = await path(handles, broken_database, cache).searched(
            SearchRequest(q="wine", timeout_ms=AMPLE_MS), offset=0
        )
        assert not answer.answered
        assert not answer.missed_deadline


class TestOpenBreaker:
    async def test_after_five_failures_the_deployment_is_passed_by(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        down = failing(RayActorError)
        handles = {name: Handle(name, retrieve=down, profile=down, rank=down) for name in handles}
        reads = path(handles, database, cache)
        request = SearchRequest(q="wine", user_id="drinker", timeout_ms=AMPLE_MS)
        answers = [await reads.searched(request, offset=0) for _ in range(6)]
        causes = [{stages(answer)[name].cause for name in ("semantic", "profile", "rank")} for answer in answers]
        assert causes == [{"unavailable"}] * 5 + [{"circuit_open"}]
        assert ids(answers[-1])[0] == "p2"


class TestRecommended:
    async def test_without_recommendation_popular_products_stand_in(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        handles["recommendation"] = Handle("recommendation", retrieve=failing(RayActorError))
        answer = await path(handles, database, cache).recommended(
            RecommendationRequest(user_id="drinker", timeout_ms=AMPLE_MS), offset=0
        )
        stage = stages(answer)["collaborative"]
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "popular", "unavailable")
        assert ids(answer)[0] == "p2"
        assert answer.may_differ

    async def test_what_the_user_owns_is_left_out_all_the_same(
        self, handles: dict[str, Handle], own_database: Database, cache: Cache
    ) -> None:
        async with own_database.transaction() as connection:
            await insert_events(connection, [Event(user_id="drinker", product_id="p2", type="purchase")])
        handles["recommendation"] = Handle("recommendation", retrieve=failing(RayActorError))
        request = RecommendationRequest(user_id="drinker", timeout_ms=AMPLE_MS)
        answer = await path(handles, own_database, cache).recommended(request, offset=0)
        assert ids(answer)
        assert "p2" not in ids(answer)

    async def test_one_that_could_ask_nothing_is_stood_in_for_too(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        frozen = RecommendationRetrieval(Frozen.__new__(Frozen), Cache(None), CONFIG)
        handles["recommendation"] = Handle(
            "recommendation", retrieve=lambda request, s: frozen.retrieve(request, timeout_s=s)
        )
        answer = await path(handles, database, cache).recommended(
            RecommendationRequest(user_id="drinker", timeout_ms=5000), offset=0
        )
        stage = stages(answer)["collaborative"]
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "popular", "artifact_missing")
        assert ids(answer)[0] == "p2"

    async def test_popular_products_are_the_same_from_the_gateway(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        healthy = await path(handles, database, cache).recommended(RecommendationRequest(timeout_ms=AMPLE_MS), offset=0)
        handles["recommendation"] = Handle("recommendation", retrieve=failing(RayActorError))
        answer = await path(handles, database, cache).recommended(RecommendationRequest(timeout_ms=AMPLE_MS), offset=0)
        assert ids(answer) == ids(healthy)
        assert answer.degraded
        assert not answer.may_differ

    async def test_excluded_and_given_products_do_not_appear(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        request = RecommendationRequest(product_ids=["p1"], exclude_ids=["p2"], timeout_ms=AMPLE_MS)
        answer = await path(handles, database, cache).recommended(request, offset=0)
        assert ids(answer)
        assert not {"p1", "p2"} & set(ids(answer))


class TestCachedAnswer:
    async def test_a_repeated_search_asks_no_deployment(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        request = SearchRequest(q="red wine", timeout_ms=AMPLE_MS)
        versions = (await path(handles, database, cache).searched(request, offset=0)).versions
        well = path(handles, database, cache, versions)
        first = await well.searched(request, offset=0)
        await well.cached.settled()
        down = {name: Handle(name, retrieve=hanging, rank=hanging) for name in ("search", "recommendation", "ranking")}
        again = await path(down, database, cache, versions).searched(request, offset=0)
        assert (again.page, again.products, again.versions) == (first.page, first.products, first.versions)
        assert (stages(again)["cache"].status, stages(again)["cache"].source) == ("ok", "redis")
        assert again.cache_status is not None
        assert again.cache_status.startswith("Shortlist; hit; ttl=")

    async def test_what_may_no_longer_be_shown_leaves_it(
        self, handles: dict[str, Handle], own_database: Database, cache: Cache
    ) -> None:
        request = SearchRequest(q="red wine", timeout_ms=AMPLE_MS)
        versions = (await path(handles, own_database, cache).searched(request, offset=0)).versions
        first = await path(handles, own_database, cache, versions).searched(request, offset=0)
        async with own_database.transaction() as connection:
            await delete_product(connection, ids(first)[0])
            await connection.execute("update products set in_stock = false where id = $1", ids(first)[1])
        again = await path(handles, own_database, cache, versions).searched(request, offset=0)
        assert ids(again) == ids(first)[2:]

    async def test_many_who_ask_at_once_have_it_made_once(
        self, handles: dict[str, Handle], database: Database, cache: Cache
    ) -> None:
        request = SearchRequest(q="blue film", timeout_ms=AMPLE_MS)
        versions = (await path(handles, database, cache).searched(request, offset=0)).versions
        made = 0
        retrieve = handles["search"].retrieve.remote  # type: ignore[attr-defined]

        async def counted(*args: object) -> object:
            nonlocal made
            made += 1
            return await retrieve(*args)

        handles["search"] = Handle("search", retrieve=counted)
        reads = path(handles, database, cache, versions)
        answers = await asyncio.gather(*(reads.searched(request, offset=0) for _ in range(100)))
        assert made == 1
        assert len({str(answer.page) for answer in answers}) == 1
