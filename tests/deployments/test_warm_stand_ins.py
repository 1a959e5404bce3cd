from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from contracts.deadline import Deadline
from contracts.requests import RecommendationRequest
from deployments.hop import HopFailed
from deployments.stand_ins import StandIns
from deployments.warm_stand_ins import WarmStandIns
from retrieval.config import RetrievalConfig
from retrieval.keyword_search import KeywordSearch
from retrieval.recommendation import RecommendationRetrieval
from storage.cache import Cache
from storage.database import Database

CONFIG = RetrievalConfig()
DIED = HopFailed("recommendation", "unavailable", 0.0)


def over(database: Database, cache: Cache) -> StandIns:
    return StandIns(
        words=KeywordSearch(database, CONFIG, cache=cache), popular=RecommendationRetrieval(database, cache, CONFIG)
    )


class Freezable:
    """A database that hangs from a moment on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.frozen = False

    async def fetch(self, *args: Any, **named: Any) -> Any:  # noqa: ANN401 - as Database
        if self.frozen:
            await asyncio.Event().wait()
        return await self._database.fetch(*args, **named)


class FreezableCache(Cache):
    """A cache that takes no notice of the breaker, and hangs from a moment on."""

    frozen = False

    @property
    def configured(self) -> bool:
        return True

    async def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        if self.frozen:
            await asyncio.Event().wait()
        return [None] * len(keys)


class TestWarmStandIns:
    async def test_popular_products_are_known_when_nothing_can_be_read(self, database: Database) -> None:
        freezable, cache = Freezable(database), FreezableCache(None)
        stand_ins = over(freezable, cache)  # type: ignore[arg-type]  # all that is asked of it
        await WarmStandIns(stand_ins).once(timeout_s=20)
        freezable.frozen = cache.frozen = True
        request = RecommendationRequest(timeout_ms=1000)
        found = await stand_ins.recommendation(request, DIED, Deadline.in_seconds(1))
        assert found.answered
        assert found.candidates.product_ids[0] == "p2"

    async def test_they_are_known_too_where_the_process_itself_got_no_time(self, database: Database) -> None:
        freezable = Freezable(database)
        stand_ins = over(freezable, Cache(None))  # type: ignore[arg-type]  # all that is asked of it
        await WarmStandIns(stand_ins).once(timeout_s=20)
        freezable.frozen = True
        asyncio.get_running_loop().call_later(0.01, time.sleep, 1.0)
        request = RecommendationRequest(timeout_ms=500)
        found = await stand_ins.recommendation(request, DIED, Deadline.in_seconds(0.5))
        assert found.answered
        assert found.candidates.product_ids[0] == "p2"

    async def test_it_goes_on_in_the_background_whatever_comes_of_it(
        self, broken_database: Database, cache: Cache
    ) -> None:
        asked = 0
        warm = WarmStandIns(over(broken_database, cache), period_s=0.001)
        once = warm.once

        async def counted(**_: object) -> None:
            nonlocal asked
            asked += 1
            await once(timeout_s=0.05)
            raise RuntimeError("a mistake of ours")

        warm.once = counted  # type: ignore[method-assign]
        warm.start()
        async with asyncio.timeout(20):
            while asked < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert warm.alive
        await warm.stop()
        assert warm.alive
