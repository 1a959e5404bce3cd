"""The deployments that hold the catalogue in memory, without Ray around them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.manifest import ArtifactKind, ManifestDraft
from artifacts.store import ArtifactStore
from artifacts.trials import Trial
from contracts.requests import RecommendationRequest, SearchRequest
from deployments.config import GraphConfig
from deployments.recommendation import RecommendationDeployment
from deployments.search import SearchDeployment
from tests.servers import Servers

DEPLOYMENTS = [SearchDeployment, RecommendationDeployment]


async def made(deployment: Any) -> Any:  # noqa: ANN401  Serve hides the class
    replica = deployment.func_or_class.__new__(deployment.func_or_class)
    await replica.__init__(GraphConfig())
    return replica


def status(replica: Any) -> dict[str, Any]:  # noqa: ANN401
    """What the replica's status says of the changes; the rest of it needs Ray."""
    return dict(replica._catalogue.status())


@pytest.fixture
def _environment(
    monkeypatch: pytest.MonkeyPatch,
    servers: Servers,
    catalogue_url: str,
    embeddings: ActiveArtifact[EmbeddingIndex],
    tmp_path: Path,
) -> None:
    assert embeddings.current is not None
    monkeypatch.setenv("SHORTLIST_DATABASE_URL", catalogue_url)
    monkeypatch.setenv("SHORTLIST_REPLICA_URLS", "")
    monkeypatch.setenv("SHORTLIST_REDIS_URL", servers.redis_url)
    monkeypatch.setenv("SHORTLIST_ARTIFACTS", str(tmp_path / "artifacts"))


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment.name)
class TestCatalogue:
    async def test_it_is_read_when_the_replica_is_made(self, deployment: Any) -> None:  # noqa: ANN401
        replica = await made(deployment)
        held = status(replica)
        assert (held["columns_loaded"], held["products"], held["live_vectors"]) == (True, 5, 0)
        assert held["problem"] is None
        request = SearchRequest(q="red wine") if deployment is SearchDeployment else RecommendationRequest()
        answer = await replica.retrieve(request, 10.0)
        assert "p1" in answer.candidates.product_ids
        await stopped(replica)

    async def test_a_replica_starts_with_the_database_down(
        self,
        deployment: Any,  # noqa: ANN401
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", f"postgresql://nobody@/nothing?host={tmp_path}")
        replica = await made(deployment)
        held = status(replica)
        assert not held["columns_loaded"]
        assert held["problem"] is not None
        await stopped(replica)

    async def test_pulling_ends_with_the_replica(self, deployment: Any) -> None:  # noqa: ANN401
        replica = await made(deployment)
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "change-feed"]
        assert len(tasks) == 1
        replica.__del__()
        await asyncio.wait(tasks, timeout=10)
        assert tasks[0].done()
        await stopped(replica)


@pytest.mark.usefixtures("_environment", "factors")
@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment.name)
class TestTrial:
    async def test_a_canary_is_taken_up_and_answers(self, deployment: Any, store: ArtifactStore) -> None:  # noqa: ANN401
        kind: ArtifactKind = "embeddings" if deployment is SearchDeployment else "collaborative"
        active = store.active_version(kind) or ""
        manifest = store.manifest(kind, active)
        draft = ManifestDraft(kind=kind, encoder=manifest.encoder, dim=manifest.dim)
        version = store.publish(store.fetch(kind, active), draft).version
        replica = await made(deployment)
        search, recommended = SearchRequest(q="red wine"), RecommendationRequest(user_id="drinker")
        request = search if deployment is SearchDeployment else recommended
        for tried, expected in ((None, active), (Trial.begun("canary", version, 1.0), version)):
            if tried is not None:
                store.trials(kind).begin(tried)
                async with asyncio.timeout(30):
                    while replica._trial.status() is None:  # noqa: ASYNC110  a thread looks, not a task
                        await asyncio.sleep(0.02)
            versions = (await replica.retrieve(request, 10.0)).versions
            assert (versions.index if kind == "embeddings" else versions.cf) == expected
            if kind == "collaborative":
                assert (await replica.profile("drinker", 10.0, None)).version == expected
        await stopped(replica)


async def stopped(replica: Any) -> None:  # noqa: ANN401
    await replica._trial.stop()
    await replica._catalogue.stop()
    for held in (replica._embeddings, getattr(replica, "_factors", None)):
        if held is not None:
            held.stop()
    await replica._cache.close()
    await replica._retrieval._hydrator._database.close()
