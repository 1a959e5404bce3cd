from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from contracts.candidates import Retrieved
from contracts.deadline import Deadline
from contracts.requests import SearchRequest
from contracts.stages import Stage
from retrieval.assembly import Found, assemble
from retrieval.epoch import Epoch
from retrieval.fusion import fuse
from retrieval.hydration import Hydrator
from retrieval.live_catalogue import LiveCatalogue
from storage.cache import Cache
from storage.database import Database
from tests.deaf_server import deaf_server

EPOCH = Epoch("1-1", "v1", "pop-1", None)
# What a busy machine may add to a time limit.
LATE_S = 0.12


class FrozenDatabase(Database):
    """Never answers."""

    def __init__(self) -> None: ...

    async def fetch(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - never returns
        await asyncio.Event().wait()


@pytest.fixture
async def frozen_cache() -> AsyncIterator[Cache]:
    async with deaf_server() as url:
        cache = Cache(url)
        yield cache
        await cache.close()


def found(epoch: Epoch | None) -> Found:
    semantic = Retrieved(
        "semantic", ["p1", "p2"], np.array([0.9, 0.8]), truncated=False, source="faiss", revisions={"p1": 1, "p2": 2}
    )
    stages = [Stage("semantic"), Stage("keyword", "skipped", cause="timeout")]
    return Found(lists=[semantic], stages=stages, epoch=epoch, answered=True, relevance=True)


class TestAssemble:
    @pytest.mark.parametrize("epoch", [None, EPOCH], ids=["the database failed already", "the database hangs here"])
    @pytest.mark.parametrize("budget_s", [0.1, 0.25, 0.5])
    async def test_with_frozen_databases_and_redis_it_ends_with_its_deadline(
        self, frozen_cache: Cache, epoch: Epoch | None, budget_s: float
    ) -> None:
        hydrator = Hydrator(FrozenDatabase(), frozen_cache)
        hydrator._last_epoch = EPOCH
        began = time.monotonic()
        retrieval = await assemble(
            found(epoch), SearchRequest(q="x"), Deadline.in_seconds(budget_s), hydrator=hydrator, fusing=fuse
        )
        assert time.monotonic() - began < budget_s + LATE_S
        assert retrieval.answered
        assert retrieval.candidates.product_ids == ["p1", "p2"]
        hydrate = next(stage for stage in retrieval.stages if stage.name == "hydrate")
        assert (hydrate.status, hydrate.cause) == ("skipped", "timeout")

    @pytest.mark.parametrize("budget_s", [0.15, 0.5])
    async def test_a_frozen_redis_takes_nothing_of_what_the_catalogue_in_memory_knows(
        self,
        database: Database,
        embeddings: ActiveArtifact[EmbeddingIndex],
        frozen_cache: Cache,
        budget_s: float,
    ) -> None:
        catalogue = LiveCatalogue(database, embeddings, period_s=0.02)
        await catalogue.start(wait_s=30)
        hydrator = Hydrator(FrozenDatabase(), frozen_cache, catalogue=catalogue)
        hydrator._last_epoch = EPOCH
        request = SearchRequest(q="x", category="Drinks")
        retrieval = await assemble(found(None), request, Deadline.in_seconds(budget_s), hydrator=hydrator, fusing=fuse)
        await catalogue.stop()
        assert retrieval.answered, "the filter is known to hold"
        hydrate = next(stage for stage in retrieval.stages if stage.name == "hydrate")
        assert (hydrate.fallback, hydrate.cause) == ("cached attributes", "timeout")
