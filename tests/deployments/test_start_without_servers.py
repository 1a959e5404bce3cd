"""Every replica starts while its servers are there and do not answer; frozen is worse than down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from contracts.requests import RecommendationRequest, SearchRequest
from deployments.config import GraphConfig
from deployments.ingestion import IngestionDeployment
from deployments.recommendation import RecommendationDeployment
from deployments.search import SearchDeployment
from tests.servers import Servers, own_valkey
from tests.storage.conftest import frozen, primary_with_replica

# Serve itself waits for much longer; a replica must not need it.
LONGEST_S = 120.0


@pytest.fixture(scope="module")
def frozen_servers(servers: Servers) -> Iterator[dict[str, str]]:
    """The settings of a primary, a read replica and a Valkey that accept connections and never answer."""
    with (
        primary_with_replica(servers.primary.programs) as postgres,
        own_valkey() as valkey,
        ExitStack() as stack,
    ):
        for server in (postgres.primary, postgres.replica, valkey):
            assert server.process is not None
            stack.enter_context(frozen(server.process.pid))
        yield {
            "SHORTLIST_DATABASE_URL": postgres.primary.url(),
            "SHORTLIST_REPLICA_URLS": postgres.replica.url(),
            "SHORTLIST_REDIS_URL": valkey.url,
        }


@pytest.fixture
def _environment(
    monkeypatch: pytest.MonkeyPatch,
    frozen_servers: dict[str, str],
    embeddings: ActiveArtifact[EmbeddingIndex],
    tmp_path: Path,
) -> None:
    assert embeddings.current is not None
    for name, value in frozen_servers.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SHORTLIST_ARTIFACTS", str(tmp_path / "artifacts"))
    # What a replica waits for in vain, cut short.
    monkeypatch.setattr("retrieval.columns._PAGE_S", 1.0)
    for deployment in ("search", "recommendation"):
        monkeypatch.setattr(f"deployments.{deployment}.WARM_UP_S", 1.0)


async def made(deployment: Any) -> Any:  # noqa: ANN401  Serve hides the class
    replica = deployment.func_or_class.__new__(deployment.func_or_class)
    async with asyncio.timeout(LONGEST_S):
        await replica.__init__(GraphConfig())
    return replica


async def stopped(replica: Any) -> None:  # noqa: ANN401
    catalogue = getattr(replica, "_catalogue", None)
    if catalogue is not None:
        await catalogue.stop()


@pytest.mark.usefixtures("_environment")
# Serve awaits what asyncio does not.
@pytest.mark.filterwarnings("ignore:coroutine 'IngestionDeployment.__del__' was never awaited")
class TestFrozenServers:
    async def test_search_starts_and_finds_by_meaning(self) -> None:
        replica = await made(SearchDeployment)
        answer = await replica.retrieve(SearchRequest(q="red wine", timeout_ms=3000), 3.0)
        assert answer.answered
        assert "p1" in answer.candidates.product_ids
        await stopped(replica)

    async def test_recommendation_starts_and_finds_what_is_like_others(self) -> None:
        replica = await made(RecommendationDeployment)
        request = RecommendationRequest(product_ids=["p1"], timeout_ms=3000)
        answer = await replica.retrieve(request, 3.0)
        assert answer.answered
        assert "p5" in answer.candidates.product_ids
        await stopped(replica)

    async def test_ingestion_starts(self) -> None:
        await (await made(IngestionDeployment)).__del__()
