from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from catalogue.events import Event
from catalogue.store import insert_events
from contracts.answers import Answer
from contracts.arms import personal_to
from contracts.deadline import Deadline
from contracts.requests import RecommendationRequest, SearchRequest
from contracts.stages import Stage
from contracts.versions import Versions
from deployments.cache_status import CacheOutcome
from deployments.cached_reads import CachedReads, Compute
from deployments.result_cache import MOST_AT_ONCE
from retrieval.epoch import EpochWatcher
from retrieval.hydration import Hydrator
from retrieval.user_events import event_count
from storage.cache import Cache
from storage.database import Database
from storage.errors import DatabaseShunned, DatabaseUnavailable, PoolTimeout, QueryTimeout
from tests.deaf_server import deaf_server
from tests.deployments.answers import VERSIONS, answer
from tests.servers import own_valkey
from tests.small_catalogue import kept, redis_of

REQUEST = SearchRequest(q="red wine", timeout_ms=20_000)
UNAVAILABLE = Stage("keyword", "fallback", fallback="semantic", cause="unavailable")


@dataclass
class Maker:
    """Makes an answer, and counts how often; waits until it may."""

    answer: Answer = field(default_factory=lambda: replace(answer("p1", "p2"), event_count=None))
    made: int = 0
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> Answer:
        self.made += 1
        self.has_begun.set()
        await self.may_end.wait()
        return self.answer


@pytest.fixture
def maker() -> Maker:
    maker = Maker()
    maker.may_end.set()
    return maker


class Shop(CachedReads):
    """Answers, and waits until the answer is kept."""

    async def answer(
        self,
        request: SearchRequest | RecommendationRequest,
        *,
        offset: int,
        compute: Compute,
        deadline: Deadline | None = None,
    ) -> tuple[Answer, CacheOutcome]:
        answered = await super().answer(request, offset=offset, compute=compute, deadline=deadline)
        await self.settled()
        return answered


def reads(
    cache: Cache, versions: Callable[[], Versions | None] = lambda: VERSIONS, events: int | Exception = 0
) -> CachedReads:
    async def event_count(*_: object) -> int:
        if isinstance(events, Exception):
            raise events
        return events

    return Shop(cache, versions=versions, event_count=event_count)


async def nobody(*_: object) -> int:
    return 0


def cache_stage(answer: Answer) -> Stage | None:
    return next((stage for stage in answer.stages if stage.name == "cache"), None)


class TestHitsAndMisses:
    async def test_the_second_time_the_answer_comes_from_the_cache(self, cache: Cache, maker: Maker) -> None:
        shop = reads(cache)
        first, missed = await shop.answer(REQUEST, offset=0, compute=maker)
        second, hit = await shop.answer(REQUEST, offset=0, compute=maker)
        assert maker.made == 1
        assert (missed.status, missed.detail, hit.status, hit.ttl_s) == ("miss", "storing", "hit", 300)
        assert cache_stage(first) is None
        assert second.stages[:-1] == first.stages
        assert (second.stages[-1].name, second.stages[-1].status, second.stages[-1].source) == ("cache", "ok", "redis")
        assert second.page == first.page
        assert second.versions == first.versions

    async def test_another_replica_finds_it(self, cache: Cache, maker: Maker) -> None:
        await reads(cache).answer(REQUEST, offset=0, compute=maker)
        assert (await reads(cache).answer(REQUEST, offset=0, compute=maker))[1].status == "hit"

    async def test_another_page_is_another_answer(self, cache: Cache, maker: Maker) -> None:
        shop = reads(cache)
        await shop.answer(REQUEST, offset=0, compute=maker)
        assert (await shop.answer(REQUEST, offset=10, compute=maker))[1].status == "miss"

    @pytest.mark.parametrize("version", ["changes", "popularity", "vocabulary", "index", "cf", "weights", "config"])
    async def test_when_a_version_moves_the_answer_is_made_again(
        self, cache: Cache, maker: Maker, version: str
    ) -> None:
        await reads(cache).answer(REQUEST, offset=0, compute=maker)
        moved = replace(VERSIONS, **{version: "next"})
        maker.answer = replace(maker.answer, versions=moved)
        shop = reads(cache, lambda: moved)
        assert (await shop.answer(REQUEST, offset=0, compute=maker))[1] == CacheOutcome("miss", detail="storing")
        assert maker.made == 2

    async def test_garbage_is_made_again_and_overwritten(self, cache: Cache, maker: Maker) -> None:
        shop = reads(cache)
        await shop.answer(REQUEST, offset=0, compute=maker)
        (key,) = await kept(cache, "results:")
        await redis_of(cache).set(key, b"{garbage")
        assert (await shop.answer(REQUEST, offset=0, compute=maker))[1] == CacheOutcome("miss", detail="storing")
        assert (await shop.answer(REQUEST, offset=0, compute=maker))[1].status == "hit"

    async def test_they_are_counted(self, cache: Cache, maker: Maker) -> None:
        shop = reads(cache)
        for _ in range(3):
            await shop.answer(REQUEST, offset=0, compute=maker)
        assert (cache.stats()["results"].hits, cache.stats()["results"].misses) == (2, 1)


class TestWhatIsNotKept:
    async def test_a_degraded_answer(self, cache: Cache, maker: Maker) -> None:
        shop = reads(cache)
        maker.answer = replace(answer("p1", stages=[UNAVAILABLE]), event_count=None)
        for made in (1, 2):
            _, outcome = await shop.answer(REQUEST, offset=0, compute=maker)
            assert (outcome, maker.made) == (CacheOutcome("miss", detail="degraded"), made)
        assert await kept(cache) == []

    @pytest.mark.parametrize("changes", ["7-8", None], ids=["a lagging replica", "several databases"])
    async def test_an_answer_that_has_not_seen_the_newest_change(
        self, cache: Cache, maker: Maker, changes: str | None
    ) -> None:
        maker.answer = replace(maker.answer, versions=replace(VERSIONS, changes=changes))
        _, outcome = await reads(cache).answer(REQUEST, offset=0, compute=maker)
        assert outcome == CacheOutcome("miss", detail="versions-moved")
        assert await kept(cache) == []

    async def test_an_answer_that_has_not_seen_the_users_last_event(self, cache: Cache, maker: Maker) -> None:
        request = SearchRequest(q="red wine", user_id="drinker", timeout_ms=20_000)
        maker.answer = replace(maker.answer, event_count=4)
        _, outcome = await reads(cache, events=5).answer(request, offset=0, compute=maker)
        assert outcome == CacheOutcome("miss", detail="versions-moved")
        _, outcome = await reads(cache, events=4).answer(request, offset=0, compute=maker)
        assert outcome == CacheOutcome("miss", detail="storing")


class TestBypass:
    async def test_a_token_neither_reads_nor_keeps_nor_shares(self, cache: Cache, maker: Maker) -> None:
        shop = reads(cache)
        await shop.answer(REQUEST, offset=0, compute=maker)
        careful = REQUEST.model_copy(update={"consistency_token": "1-0/1"})
        answers = await asyncio.gather(*(shop.answer(careful, offset=0, compute=maker) for _ in range(5)))
        assert maker.made == 6
        assert {outcome for _, outcome in answers} == {CacheOutcome("bypass", detail="consistency-token")}
        assert len(await kept(cache)) == 1
        assert cache.stats()["results"].hits == 0

    async def test_before_any_epoch_is_known(self, cache: Cache, maker: Maker) -> None:
        _, outcome = await reads(cache, lambda: None).answer(REQUEST, offset=0, compute=maker)
        assert outcome == CacheOutcome("bypass", detail="versions-unknown")

    async def test_when_it_cannot_be_told_what_the_user_did(self, cache: Cache, maker: Maker) -> None:
        request = SearchRequest(q="red wine", user_id="drinker")
        down = DatabaseUnavailable("primary", "down")
        _, outcome = await reads(cache, events=down).answer(request, offset=0, compute=maker)
        assert outcome == CacheOutcome("bypass", detail="user-unread")
        _, outcome = await reads(cache, events=down).answer(REQUEST, offset=0, compute=maker)
        assert outcome.detail == "storing", "who is not named has no events"


class TestWithoutADatabase:
    """What the user did cannot be counted any more."""

    REQUEST = SearchRequest(q="red wine", user_id="drinker", timeout_ms=20_000)

    def shop(self, cache: Cache, counts: list[int | Exception]) -> CachedReads:
        async def event_count(*_: object) -> int:
            count = counts.pop(0)
            if isinstance(count, Exception):
                raise count
            return count

        return Shop(cache, versions=lambda: VERSIONS, event_count=event_count)

    @pytest.mark.parametrize(
        ("error", "cause"),
        [
            (DatabaseUnavailable("primary", "down"), "unavailable"),
            (DatabaseShunned("postgres:primary", retry_in_s=10), "circuit_open"),
        ],
    )
    async def test_the_answer_for_the_events_last_seen_is_used_and_says_so(
        self, cache: Cache, maker: Maker, error: Exception, cause: str
    ) -> None:
        maker.answer = replace(answer("p1", stages=[Stage("profile", source="fold_in+primary")]), event_count=4)
        shop = self.shop(cache, [4, error])
        await shop.answer(self.REQUEST, offset=0, compute=maker)
        hit, outcome = await shop.answer(self.REQUEST, offset=0, compute=maker)
        assert (outcome.status, outcome.detail, maker.made) == ("hit", "user-unread", 1)
        assert hit.page == maker.answer.page
        (profile,) = (stage for stage in hit.stages if stage.name == "profile")
        assert (profile.status, profile.fallback, profile.cause) == ("fallback", "events last seen", cause)
        assert hit.may_differ

    async def test_when_they_can_be_counted_again_only_what_has_seen_them_all_is_used(
        self, cache: Cache, maker: Maker
    ) -> None:
        maker.answer = replace(maker.answer, event_count=4)
        shop = self.shop(cache, [4, DatabaseUnavailable("primary", "down"), 5])
        outcomes = [(await shop.answer(self.REQUEST, offset=0, compute=maker))[1].status for _ in range(3)]
        assert outcomes == ["miss", "hit", "miss"]

    @pytest.mark.parametrize(
        "error", [QueryTimeout("primary", "slow"), PoolTimeout("primary", "busy")], ids=["slow", "busy"]
    )
    async def test_one_that_is_slow_or_busy_may_have_more_to_say_of_an_answer_made_now(
        self, cache: Cache, maker: Maker, error: Exception
    ) -> None:
        maker.answer = replace(maker.answer, event_count=4)
        shop = self.shop(cache, [4, error])
        await shop.answer(self.REQUEST, offset=0, compute=maker)
        _, outcome = await shop.answer(self.REQUEST, offset=0, compute=maker)
        assert outcome == CacheOutcome("bypass", detail="user-unread")

    async def test_of_so_many_users_it_is_remembered(
        self, cache: Cache, maker: Maker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("deployments.cached_reads.MOST_USERS", 2)
        down = DatabaseUnavailable("primary", "down")
        shop = self.shop(cache, [0, 0, 0, down, down])
        for user_id in ("a", "b", "c"):
            await shop.answer(SearchRequest(q="x", user_id=user_id), offset=0, compute=maker)
        found = [
            (await shop.answer(SearchRequest(q="x", user_id=user_id), offset=0, compute=maker))[1].status
            for user_id in ("a", "c")
        ]
        assert found == ["bypass", "hit"]


class TestWithoutRedis:
    async def test_a_server_that_is_down_degrades_the_answer_and_leaves_its_hits(self, maker: Maker) -> None:
        down = Cache("unix:///nonexistent/valkey.sock")
        made, outcome = await reads(down).answer(REQUEST, offset=0, compute=maker)
        stage = cache_stage(made)
        assert stage is not None
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "database", "unavailable")
        assert made.degraded
        assert not made.may_differ
        assert made.page == maker.answer.page
        assert outcome == CacheOutcome("miss", detail="unavailable")

    async def test_a_frozen_server_is_passed_by(self, maker: Maker) -> None:
        with own_valkey() as server:
            assert server.process is not None
            os.kill(server.process.pid, signal.SIGSTOP)
            cache = Cache(server.url)
            made, outcome = await reads(cache).answer(REQUEST, offset=0, compute=maker)
            os.kill(server.process.pid, signal.SIGCONT)
            await cache.close()
            server.stop()
        assert outcome == CacheOutcome("miss", detail="unavailable")
        assert made.page == maker.answer.page

    @pytest.mark.parametrize("timeout_ms", [100, 200, 400, 1000])
    async def test_one_that_hangs_leaves_time_for_the_work(self, timeout_ms: int) -> None:
        left_s: list[float] = []
        deadline = Deadline.in_seconds(timeout_ms / 1000)

        async def make() -> Answer:
            left_s.append(deadline.left_s())
            return replace(answer("p1"), event_count=None)

        async with deaf_server() as url:
            cache = Cache(url)
            request = REQUEST.model_copy(update={"timeout_ms": timeout_ms})
            made, outcome = await reads(cache).answer(request, offset=0, compute=make, deadline=deadline)
            await cache.close()
        assert left_s[0] > timeout_ms / 1000 * 0.2
        assert outcome == CacheOutcome("miss", detail="unavailable")
        stage = cache_stage(made)
        assert stage is not None
        assert (stage.status, stage.fallback) == ("fallback", "database")

    async def test_no_answer_waits_until_it_is_kept(self, maker: Maker) -> None:
        """Redis freezes after it was looked into."""
        may_keep = asyncio.Event()

        class Freezing(Cache):
            async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
                return [None] * len(keys)

            async def set_many(self, *_: object) -> bool:
                await may_keep.wait()
                return False

        shop = CachedReads(Freezing("redis://127.0.0.1:1/0"), versions=lambda: VERSIONS, event_count=nobody)
        began = time.monotonic()
        outcomes = [(await shop.answer(REQUEST, offset=page, compute=maker))[1] for page in range(MOST_AT_ONCE + 1)]
        assert time.monotonic() - began < 5
        assert [outcome.detail for outcome in outcomes] == ["storing"] * MOST_AT_ONCE + ["not-stored"]
        may_keep.set()
        await shop.settled()
        assert (await shop.answer(REQUEST, offset=0, compute=maker))[1].detail == "storing", "there is room again"
        await shop.settled()

    async def test_a_failure_that_retrieval_told_already_is_told_once(self, maker: Maker) -> None:
        down = Cache("unix:///nonexistent/valkey.sock")
        told = Stage("cache", "fallback", fallback="database", cause="unavailable", ms=7.0)
        maker.answer = answer("p1", stages=[told])
        made, _ = await reads(down).answer(REQUEST, offset=0, compute=maker)
        assert [stage for stage in made.stages if stage.name == "cache"] == [told]

    async def test_a_server_that_is_full_keeps_nothing_and_degrades_nothing(self, cache: Cache, maker: Maker) -> None:
        await cache.get_many(["the epoch is settled while there is room"])
        await redis_of(cache).config_set("maxmemory", "1")
        await redis_of(cache).config_set("maxmemory-policy", "noeviction")
        made, outcome = await reads(cache).answer(REQUEST, offset=0, compute=maker)
        await redis_of(cache).config_set("maxmemory", "128mb")
        await redis_of(cache).config_set("maxmemory-policy", "allkeys-lru")
        assert outcome == CacheOutcome("miss", detail="storing")
        assert not made.degraded
        assert cache.stats()["results"].errors == 1

    async def test_without_a_cache_the_work_is_still_shared(self) -> None:
        shop, maker = reads(Cache(None)), Maker()
        asking = [asyncio.create_task(shop.answer(REQUEST, offset=0, compute=maker)) for _ in range(10)]
        await maker.has_begun.wait()
        maker.may_end.set()
        answers = await asyncio.gather(*asking)
        assert maker.made == 1
        assert {outcome.detail for _, outcome in answers} == {"not-configured"}
        stage = cache_stage(answers[0][0])
        assert stage is not None
        assert (stage.status, stage.cause) == ("skipped", "not_requested")


class TestSharing:
    async def test_a_hundred_simultaneous_misses_do_the_work_once(self, cache: Cache) -> None:
        shop, maker = reads(cache), Maker()
        asking = [asyncio.create_task(shop.answer(REQUEST, offset=0, compute=maker)) for _ in range(100)]
        await maker.has_begun.wait()
        maker.may_end.set()
        answers = await asyncio.gather(*asking)
        assert maker.made == 1
        assert {id(made.page) for made, _ in answers} == {id(maker.answer.page)}
        assert [outcome.collapsed for _, outcome in answers] == [False] + [True] * 99

    async def test_the_client_that_came_first_may_leave(self, cache: Cache) -> None:
        shop, maker = reads(cache), Maker()
        first = asyncio.create_task(shop.answer(REQUEST, offset=0, compute=maker))
        await maker.has_begun.wait()
        second = asyncio.create_task(shop.answer(REQUEST, offset=0, compute=maker))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        maker.may_end.set()
        made, outcome = await second
        assert made.page == maker.answer.page
        assert outcome == CacheOutcome("miss", collapsed=True, detail="storing")

    async def test_who_is_in_a_hurry_does_not_cut_off_who_is_not(self, cache: Cache) -> None:
        shop, patient, hurried = reads(cache), Maker(), Maker()
        waiting = asyncio.create_task(shop.answer(REQUEST, offset=0, compute=patient))
        await patient.has_begun.wait()
        hurried.answer = replace(answer("p1", stages=[UNAVAILABLE]), event_count=None)
        hurried.may_end.set()
        quick = REQUEST.model_copy(update={"timeout_ms": 10})
        assert (await shop.answer(quick, offset=0, compute=hurried))[0].degraded
        patient.may_end.set()
        assert not (await waiting)[0].degraded

    async def test_who_waits_gives_up_at_its_deadline(self, cache: Cache) -> None:
        shop, maker = reads(cache), Maker()
        quick = REQUEST.model_copy(update={"timeout_ms": 10})
        with pytest.raises(TimeoutError):
            await shop.answer(quick, offset=0, compute=maker)
        maker.may_end.set()

    async def test_a_degraded_answer_is_shared_by_those_who_wait_and_made_again_after(self, cache: Cache) -> None:
        shop, maker = reads(cache), Maker()
        maker.answer = replace(answer("p1", stages=[UNAVAILABLE]), event_count=None)
        asking = [asyncio.create_task(shop.answer(REQUEST, offset=0, compute=maker)) for _ in range(10)]
        await maker.has_begun.wait()
        maker.may_end.set()
        await asyncio.gather(*asking)
        assert maker.made == 1
        maker.answer = replace(answer("p1"), event_count=None)
        made, outcome = await shop.answer(REQUEST, offset=0, compute=maker)
        assert (made.degraded, outcome.detail, maker.made) == (False, "storing", 2)


class TestWithTheDatabase:
    """The epoch and the user's events as the gateway knows them."""

    async def shop(self, database: Database, cache: Cache) -> tuple[CachedReads, EpochWatcher]:
        watcher = EpochWatcher(database)
        await watcher.read()
        shop = Shop(
            cache,
            versions=lambda: watcher.versions(index=None, cf=None, weights="w1"),
            event_count=lambda user_id, _: event_count(database, user_id, timeout_s=10),
        )
        return shop, watcher

    async def test_a_write_makes_the_next_answer_be_made_anew(
        self, own_database: Database, cache: Cache, maker: Maker
    ) -> None:
        shop, watcher = await self.shop(own_database, cache)
        maker.answer = replace(maker.answer, versions=now(watcher))
        await shop.answer(REQUEST, offset=0, compute=maker)
        assert (await shop.answer(REQUEST, offset=0, compute=maker))[1].status == "hit"
        async with own_database.transaction() as connection:
            await connection.execute("insert into products (id, title) values ('p6', 'red wine')")
        await watcher.read()
        _, outcome = await shop.answer(REQUEST, offset=0, compute=maker)
        assert outcome == CacheOutcome("miss", detail="versions-moved")

    async def test_a_hit_shows_nothing_that_was_deleted_and_no_old_price(
        self, own_database: Database, cache: Cache, maker: Maker
    ) -> None:
        shop, watcher = await self.shop(own_database, cache)
        maker.answer = replace(maker.answer, versions=now(watcher))
        await shop.answer(REQUEST, offset=0, compute=maker)
        async with own_database.transaction() as connection:
            await connection.execute("delete from products where id = 'p2'")
            await connection.execute("update products set price = 77 where id = 'p1'")
        # The gateway has not noticed yet.
        hit, outcome = await shop.answer(REQUEST, offset=0, compute=maker)
        assert outcome.status == "hit"
        ids = [hit.product_id for hit in hit.page.hits]
        products, _ = await Hydrator(own_database, cache).products(ids, request=REQUEST)
        assert {product_id: product["price"] for product_id, product in products.items()} == {"p1": 77.0}

    async def test_an_event_makes_the_next_answer_for_its_user_be_made_anew(
        self, own_database: Database, cache: Cache, maker: Maker
    ) -> None:
        shop, watcher = await self.shop(own_database, cache)
        maker.answer = replace(maker.answer, versions=now(watcher))
        drinker, viewer = (RecommendationRequest(user_id=user_id) for user_id in ("drinker", "viewer"))
        for request in (drinker, viewer):
            await shop.answer(request, offset=0, compute=maker)
        async with own_database.transaction() as connection:
            await insert_events(connection, [Event(user_id="drinker", product_id="p1", type="view")])
        assert (await shop.answer(drinker, offset=0, compute=maker))[1].status == "miss"
        assert (await shop.answer(viewer, offset=0, compute=maker))[1].status == "hit"


def now(watcher: EpochWatcher) -> Versions:
    versions = watcher.versions(index=None, cf=None, weights="w1")
    assert versions is not None
    return versions


class TestPersonalTo:
    def test_popular_products_are_the_same_for_everyone(self) -> None:
        assert personal_to(RecommendationRequest(user_id="drinker", type="popular")) is None
        assert personal_to(RecommendationRequest(user_id="drinker")) == "drinker"
        assert personal_to(RecommendationRequest(user_id="drinker", product_ids=["p1"], type="similar")) == "drinker"
        assert personal_to(SearchRequest(q="wine", user_id="drinker")) == "drinker"
        assert personal_to(SearchRequest(q="wine")) is None
