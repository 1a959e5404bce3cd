from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import orjson
import pytest

from contracts.candidates import Placing
from contracts.ranked import RankRequest
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.versions import Versions
from deployments.http.bodies import answer_body
from deployments.result_cache import ResultCache, result_key
from ranking.rankers import WeightedRanker
from storage.cache import Cache
from tests.deployments.answers import VERSIONS, answer
from tests.ranking.candidates import candidates
from tests.small_catalogue import redis_of, stored

SEARCH = SearchRequest(q="red wine", user_id="drinker")


def key(
    request: ReadRequest = SEARCH, *, offset: int = 0, versions: Versions = VERSIONS, event_count: int | None = 3
) -> str:
    return result_key(request, offset=offset, versions=versions, event_count=event_count)


class TestResultKey:
    @pytest.mark.parametrize(
        "other",
        [
            {"q": "red  wine"},
            {"q": "Red wine"},
            {"user_id": None},
            {"user_id": "viewer"},
            {"mode": "keyword"},
            {"limit": 11},
            {"explain": True},
            {"category": "None"},
            {"price_min": 1.0},
            {"price_max": 1.0},
            {"in_stock": True},
            {"in_stock": False},
        ],
        ids=str,
    )
    def test_whatever_may_change_the_answer_changes_it(self, other: dict[str, object]) -> None:
        assert key(SEARCH.model_copy(update=other)) != key()

    @pytest.mark.parametrize("version", [field.name for field in fields(Versions)])
    def test_each_version_changes_it(self, version: str) -> None:
        assert key(versions=replace(VERSIONS, **{version: "another"})) != key()
        assert key(versions=replace(VERSIONS, **{version: None})) != key()

    def test_the_page_and_the_users_events_change_it(self) -> None:
        assert len({key(), key(offset=10), key(event_count=4), key(event_count=None)}) == 4

    @pytest.mark.parametrize(
        "other", [{"timeout_ms": 50}, {"degradation": "forbid"}, {"cursor": "page-2"}, {"consistency_token": "1-0/1"}]
    )
    def test_how_it_is_asked_for_does_not(self, other: dict[str, object]) -> None:
        assert key(SEARCH.model_copy(update=other)) == key()

    def test_recommendations_and_searches_never_share_one(self) -> None:
        assert key(RecommendationRequest(user_id="drinker")) != key()
        requests = [
            RecommendationRequest(user_id="drinker"),
            RecommendationRequest(user_id="drinker", type="popular"),
            RecommendationRequest(product_ids=["drinker"]),
            RecommendationRequest(exclude_ids=["drinker"]),
            RecommendationRequest(product_ids=["drinker"], exclude_ids=["drinker"]),
        ]
        assert len({key(request) for request in requests}) == len(requests)

    def test_it_is_short_whatever_the_request(self) -> None:
        long = RecommendationRequest(exclude_ids=[str(number) * 20 for number in range(1000)])
        assert len(key(long)) == len(key())


class TestResultCache:
    async def test_an_answer_comes_back_as_it_was(self, cache: Cache) -> None:
        results, made = ResultCache(cache), answer("p1", "p2")
        assert await results.keep("k", made)
        found = await results.find("k")
        assert found is not None
        assert found[0] == made
        assert orjson.dumps(found[0]) == orjson.dumps(made)

    @pytest.mark.parametrize("explain", [False, True])
    async def test_hits_as_ranking_makes_them_come_back_to_the_byte(self, cache: Cache, explain: bool) -> None:
        placing = Placing(ranks=np.array([1, 0, 2]), scores=np.array([1.0, np.nan, 0.1]))
        found = candidates(
            ["p1", "p2", "p3"], search=[1, 0.5, 0], popularity=[0, 1, 0.3], placings={"keyword": placing}
        )
        page = WeightedRanker().rank(RankRequest(candidates=found, explain=explain))
        made = replace(answer(), page=page, products={hit.product_id: {} for hit in page.hits})
        results = ResultCache(cache)
        await results.keep("k", replace(made, products=None))
        kept = await results.find("k")
        assert kept is not None
        body, again = (
            answer_body(one, request_id="r", took_ms=1, next_cursor=None)
            for one in (made, replace(kept[0], products=made.products))
        )
        assert again == body

    async def test_it_says_for_how_long_it_may_still_be_used(self, cache: Cache) -> None:
        now = [1_000_000.0]
        results = ResultCache(cache, clock=lambda: now[0])
        await results.keep("k", answer("p1"))
        now[0] += 88
        found = await results.find("k")
        assert found is not None
        assert found[1] == 212

    @pytest.mark.parametrize("drift_s", [-10_000, 10_000])
    async def test_another_hosts_clock_does_not_stretch_that(self, cache: Cache, drift_s: int) -> None:
        await ResultCache(cache, clock=lambda: 1_000_000.0).keep("k", answer("p1"))
        found = await ResultCache(cache, clock=lambda: 1_000_000.0 + drift_s).find("k")
        assert found is not None
        assert 0 <= found[1] <= 300

    async def test_answers_are_kept_for_five_minutes(self, cache: Cache) -> None:
        await ResultCache(cache).keep("k", answer("p1"))
        assert 290_000 < await redis_of(cache).pttl(stored(cache, "k")) <= 300_000

    @pytest.mark.parametrize("spoil", [slice(0), slice(10), slice(-1), slice(1, None)], ids=str)
    async def test_a_damaged_answer_is_a_miss_and_is_overwritten(self, cache: Cache, spoil: slice) -> None:
        results, made = ResultCache(cache), answer("p1")
        await results.keep("k", made)
        (sound,) = await cache.get_many(["k"])
        assert sound is not None
        await cache.set_many({"k": sound[spoil]}, 60)
        assert await results.find("k") is None
        await results.keep("k", made)
        assert await results.find("k") is not None

    @pytest.mark.parametrize("garbage", [b"null", b"[]", b"{}", b'{"answer": {}, "kept_at": 1.0}', b"\x80\x04pickle"])
    async def test_garbage_is_a_miss(self, cache: Cache, garbage: bytes) -> None:
        await cache.set_many({"k": garbage}, 60)
        assert await ResultCache(cache).find("k") is None
        assert (cache.stats()["results"].hits, cache.stats()["results"].misses) == (0, 1)

    async def test_an_answer_with_a_field_of_the_wrong_type_is_a_miss(self, cache: Cache) -> None:
        results = ResultCache(cache)
        await results.keep("k", answer("p1"))
        (sound,) = await cache.get_many(["k"])
        assert sound is not None
        entry = orjson.loads(sound)
        entry["answer"]["page"]["hits"][0]["rank"] = "1"
        await cache.set_many({"k": orjson.dumps(entry)}, 60)
        assert await results.find("k") is None

    async def test_an_answer_with_a_field_nobody_knows_is_a_miss(self, cache: Cache) -> None:
        results = ResultCache(cache)
        await results.keep("k", answer("p1"))
        (sound,) = await cache.get_many(["k"])
        assert sound is not None
        await cache.set_many({"k": sound.replace(b'"rank"', b'"place":1,"rank"')}, 60)
        assert await results.find("k") is None
