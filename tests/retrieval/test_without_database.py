"""What is answered while no Postgres server lives, or while all of them are frozen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import numpy as np
import psutil
import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from cluster.child import wait_until
from contracts.candidates import Retrieval
from contracts.deadline import Deadline
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from contracts.stages import Stage
from retrieval.attribute_cache import AttributeCache
from retrieval.config import RetrievalConfig
from retrieval.hydration import Hydrator
from retrieval.live_catalogue import LiveCatalogue
from retrieval.recommendation import RecommendationRetrieval
from retrieval.search import SearchRetrieval
from retrieval.shown_products import ShownProducts, shown_products
from storage.cache import Cache
from storage.database import Database
from tests.servers import Servers
from tests.small_catalogue import fill
from tests.storage.conftest import BreakableServers, frozen, primary_with_replica

TIMEOUT_S = 20.0
RED_WINE = SearchRequest(q="red wine", timeout_ms=20_000)


@pytest.fixture(scope="module")
def _servers_to_break(servers: Servers) -> Iterator[BreakableServers]:
    with primary_with_replica(servers.primary.programs) as breakable:
        yield breakable


@dataclass
class Shop:
    """The parts that answer, as one process has them."""

    servers: BreakableServers
    cache: Cache
    catalogue: LiveCatalogue
    search: SearchRetrieval
    recommendation: RecommendationRetrieval
    attributes: AttributeCache
    hydrator: Hydrator

    async def shown(
        self, *product_ids: str, request: ReadRequest = RED_WINE, timeout_s: float = TIMEOUT_S
    ) -> tuple[ShownProducts | None, Stage]:
        return await shown_products(
            self.hydrator, self.attributes, product_ids, request=request, deadline=Deadline.in_seconds(timeout_s)
        )

    async def change(self, statement: str) -> None:
        """Change the catalogue, and wait until the process knows."""
        before = self.catalogue.status()["position"]
        connection = await asyncpg.connect(self.servers.primary.url())
        await connection.execute(statement)
        await connection.close()
        async with asyncio.timeout(30):
            while self.catalogue.status()["position"] == before:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        for server in (self.servers.replica, self.servers.primary):
            assert server.process is not None
            everyone = [psutil.Process(server.process.pid)]
            everyone += everyone[0].children(recursive=True)
            for process in everyone:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            server.process.wait()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for server in (self.servers.replica, self.servers.primary):
                assert server.process is not None
                stack.enter_context(frozen(server.process.pid))
            yield


@contextlib.asynccontextmanager
async def opened(
    servers: BreakableServers,
    cache: Cache,
    embeddings: ActiveArtifact[EmbeddingIndex],
    factors: ActiveArtifact[Factors],
) -> AsyncIterator[Shop]:
    database = Database(servers.settings, application="tests")
    await database.start()
    catalogue = LiveCatalogue(database, embeddings, period_s=0.02)
    await catalogue.start(wait_s=30)
    attributes = AttributeCache(cache)
    attributes.start()
    config = RetrievalConfig(min_cosine=-1)
    yield Shop(
        servers,
        cache,
        catalogue,
        SearchRetrieval(database, embeddings, config, cache=cache, catalogue=catalogue),
        RecommendationRetrieval(database, cache, config, factors=factors, catalogue=catalogue),
        attributes,
        Hydrator(database, attributes=attributes),
    )
    await attributes.stop()
    await catalogue.stop()
    await database.close()


@pytest.fixture
async def shop(
    _servers_to_break: BreakableServers,
    cache: Cache,
    embeddings: ActiveArtifact[EmbeddingIndex],
    factors: ActiveArtifact[Factors],
) -> AsyncIterator[Shop]:
    """A shop that has answered, on servers that the test may kill."""
    servers = _servers_to_break
    servers.restore()
    connection = await asyncpg.connect(servers.primary.url())
    await connection.execute("delete from product_popularity; delete from popularity_versions; delete from products")
    await connection.close()
    await fill(servers.primary.url())
    position = servers.primary.query("select pg_current_wal_flush_lsn()")
    replayed = f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
    assert wait_until(lambda: servers.replica.query(replayed) == "t", timeout_s=60)
    async with opened(servers, cache, embeddings, factors) as shop:
        await shop.search.retrieve(RED_WINE, timeout_s=TIMEOUT_S)
        await shop.recommendation.retrieve(RecommendationRequest(), timeout_s=TIMEOUT_S)
        await shop.shown("p1", "p2", "p3", "p5")
        await shop.attributes.flush()
        yield shop


def stages(retrieval: Retrieval) -> dict[str, Stage]:
    return {stage.name: stage for stage in retrieval.stages}


def told(stage: Stage) -> tuple[Any, ...]:
    return stage.status, stage.fallback, stage.cause


class TestSearch:
    async def test_is_by_meaning_with_the_features_that_were_known(self, shop: Shop) -> None:
        healthy = await shop.search.retrieve(RED_WINE, timeout_s=TIMEOUT_S)
        shop.kill()
        retrieval = await shop.search.retrieve(RED_WINE, timeout_s=TIMEOUT_S)
        assert retrieval.answered
        assert stages(retrieval)["keyword"].fallback == "semantic"
        assert stages(retrieval)["keyword"].cause in {"unavailable", "circuit_open"}
        assert told(stages(retrieval)["semantic"])[0] == "ok"
        assert told(stages(retrieval)["hydrate"])[:2] == ("fallback", "cached attributes")
        assert stages(retrieval)["hydrate"].may_change_hits
        assert set(retrieval.candidates.product_ids) == set(healthy.candidates.product_ids) == {
            "p1", "p2", "p3", "p4", "p5"
        }  # fmt: skip
        for name in ("popularity", "age_days", "in_stock", "categories"):
            before = dict(zip(healthy.candidates.product_ids, getattr(healthy.candidates, name), strict=True))
            after = dict(zip(retrieval.candidates.product_ids, getattr(retrieval.candidates, name), strict=True))
            np.testing.assert_equal(after, before)
        assert retrieval.versions.popularity == "pop-1"

    async def test_who_waits_for_a_write_is_answered_too(self, shop: Shop) -> None:
        shop.kill()
        request = RED_WINE.model_copy(update={"consistency_token": "1-0/1"})
        retrieval = await shop.search.retrieve(request, timeout_s=TIMEOUT_S)
        assert retrieval.answered
        assert set(retrieval.candidates.product_ids) == {"p1", "p2", "p3", "p4", "p5"}

    async def test_filters_and_what_was_hidden_or_deleted_hold(self, shop: Shop) -> None:
        await shop.change("update products set hidden = true where id = 'p1'")
        await shop.change("delete from products where id = 'p5'")
        shop.kill()
        everything = await shop.search.retrieve(RED_WINE, timeout_s=TIMEOUT_S)
        assert set(everything.candidates.product_ids) == {"p2", "p3", "p4"}
        drinks = RED_WINE.model_copy(update={"category": "Drinks"})
        retrieval = await shop.search.retrieve(drinks, timeout_s=TIMEOUT_S)
        assert retrieval.candidates.product_ids == ["p2"]
        assert retrieval.answered

    async def test_frozen_servers_leave_time_for_an_answer(self, shop: Shop) -> None:
        with shop.frozen():
            for _ in range(3):
                deadline = Deadline.in_seconds(3)
                retrieval = await shop.search.retrieve(RED_WINE, timeout_s=3)
                assert deadline.left_s() > 0
                assert retrieval.answered
                assert set(retrieval.candidates.product_ids) == {"p1", "p2", "p3", "p4", "p5"}
                assert told(stages(retrieval)["hydrate"])[:2] == ("fallback", "cached attributes")

    async def test_without_redis_too_it_is_answered(
        self, shop: Shop, embeddings: ActiveArtifact[EmbeddingIndex], factors: ActiveArtifact[Factors]
    ) -> None:
        async with opened(shop.servers, Cache("unix:///nonexistent.sock"), embeddings, factors) as without:
            await without.search.retrieve(RED_WINE, timeout_s=TIMEOUT_S)
            without.kill()
            retrieval = await without.search.retrieve(RED_WINE, timeout_s=TIMEOUT_S)
            assert retrieval.answered
            assert set(retrieval.candidates.product_ids) == {"p1", "p2", "p3", "p4", "p5"}
            in_stock = dict(zip(retrieval.candidates.product_ids, retrieval.candidates.in_stock, strict=True))
            assert not in_stock["p4"]
            shown, stage = await without.shown("p1")
            assert shown is None
            assert stage.status == "skipped"

    async def test_a_process_that_began_without_servers_searches_the_trained_index(
        self, shop: Shop, embeddings: ActiveArtifact[EmbeddingIndex], factors: ActiveArtifact[Factors]
    ) -> None:
        shop.kill()
        async with opened(shop.servers, shop.cache, embeddings, factors) as late:
            retrieval = await late.search.retrieve(RED_WINE, timeout_s=TIMEOUT_S)
            assert retrieval.answered
            assert {"p1", "p5"} <= set(retrieval.candidates.product_ids)
            assert stages(retrieval)["hydrate"].status == "skipped"
            shown, stage = await late.shown("p1", "deleted")
            assert shown is not None
            assert shown.products["p1"]["title"] == "red wine"
            assert told(stage)[1] == "cached attributes"


class TestRecommendations:
    async def test_popular_products_are_those_of_the_last_list(self, shop: Shop) -> None:
        await shop.change("update products set hidden = true where id = 'p2'")
        shop.kill()
        retrieval = await shop.recommendation.retrieve(RecommendationRequest(), timeout_s=TIMEOUT_S)
        assert told(stages(retrieval)["popular"])[:2] == ("fallback", "earlier list")
        assert told(stages(retrieval)["hydrate"])[:2] == ("fallback", "cached attributes")
        assert set(retrieval.candidates.product_ids) == {"p1", "p3", "p5"}
        assert retrieval.answered

    async def test_who_waits_for_a_write_gets_the_last_list_too(self, shop: Shop) -> None:
        shop.kill()
        request = RecommendationRequest(consistency_token="1-0/1")
        retrieval = await shop.recommendation.retrieve(request, timeout_s=TIMEOUT_S)
        assert told(stages(retrieval)["popular"])[:2] == ("fallback", "earlier list")
        assert retrieval.answered

    async def test_a_list_that_another_process_has_asked_for_is_found_in_redis(
        self, shop: Shop, embeddings: ActiveArtifact[EmbeddingIndex], factors: ActiveArtifact[Factors]
    ) -> None:
        films = RecommendationRequest(category="Films")
        async with opened(shop.servers, shop.cache, embeddings, factors) as other:
            await other.recommendation.retrieve(films, timeout_s=TIMEOUT_S)
        shop.kill()
        retrieval = await shop.recommendation.retrieve(films, timeout_s=TIMEOUT_S)
        assert retrieval.candidates.product_ids == ["p3"]

    async def test_a_user_of_the_training_gets_what_training_knew(self, shop: Shop) -> None:
        shop.kill()
        request = RecommendationRequest(user_id="viewer")
        retrieval = await shop.recommendation.retrieve(request, timeout_s=TIMEOUT_S)
        assert told(stages(retrieval)["profile"])[:2] == ("fallback", "trained vector")
        assert told(stages(retrieval)["collaborative"])[0] == "ok"
        assert "p3" in retrieval.candidates.product_ids

    async def test_products_like_others_are_found_in_memory(self, shop: Shop) -> None:
        shop.kill()
        request = RecommendationRequest(product_ids=["p1"])
        retrieval = await shop.recommendation.retrieve(request, timeout_s=TIMEOUT_S)
        assert told(stages(retrieval)["similar"])[0] == "ok"
        assert "p5" in retrieval.candidates.product_ids

    async def test_frozen_servers_leave_time_for_the_last_list(self, shop: Shop) -> None:
        with shop.frozen():
            retrieval = await shop.recommendation.retrieve(RecommendationRequest(), timeout_s=3)
        assert {"p1", "p2", "p3", "p5"} == set(retrieval.candidates.product_ids)


class TestShownProducts:
    async def test_they_are_as_they_were_shown_last(self, shop: Shop) -> None:
        now, _ = await shop.shown("p1", "p2")
        shop.kill()
        before, stage = await shop.shown("p1", "p2", "p4")
        assert now is not None
        assert before is not None
        assert before.products == now.products
        assert (before.source, before.withheld) == (None, frozenset())
        assert told(stage)[:2] == ("fallback", "cached attributes")
        assert stage.cause in {"unavailable", "circuit_open"}

    async def test_one_that_does_not_pass_the_filters_is_withheld(self, shop: Shop) -> None:
        shop.kill()
        films = SearchRequest(q="x", category="Films")
        shown, _ = await shop.shown("p1", "p3", request=films)
        assert shown is not None
        assert list(shown.products) == ["p3"]
        assert shown.withheld == {"p1"}

    async def test_frozen_servers_leave_time_for_the_cache(self, shop: Shop) -> None:
        with shop.frozen():
            shown, stage = await shop.shown("p1", timeout_s=2)
        assert shown is not None
        assert list(shown.products) == ["p1"]
        assert told(stage)[:2] == ("fallback", "cached attributes")
