"""The search deployment: candidates for a query."""

from __future__ import annotations

from typing import Any

from ray import serve

from artifacts.embedding_index import EmbeddingIndex
from artifacts.store import ArtifactStore
from artifacts.trial_watch import OnTrial
from contracts.arms import searcher
from contracts.candidates import Retrieval
from contracts.requests import SearchRequest
from deployments.artifact_probes import IndexProbe
from deployments.artifact_samples import artifact_samples
from deployments.artifact_watch import artifact_status, trial_of_embeddings, watch_embeddings
from deployments.catalogue_watch import watch_catalogue
from deployments.config import GraphConfig
from deployments.options import INNER
from deployments.replica import most_replicas, settle
from deployments.replica_health import ReplicaHealth
from deployments.replica_log import log_beside_serve
from deployments.store_metrics import export_stores
from deployments.stores import open_cache, open_database
from deployments.trial_arms import SearchArm
from deployments.trial_samples import trial_samples
from deployments.version_trial import VersionTrial
from retrieval.search import SearchRetrieval
from storage.breakers import Breakers

WARM_UP_S = 5.0


@serve.deployment(name="search", **INNER)
class SearchDeployment:
    """Holds the embedding index, the live catalogue over it and a database pool; retrieves candidates only."""

    async def __init__(self, config: GraphConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        log_beside_serve()
        self._config = config
        self._breakers = Breakers(config.breaker)
        self._database = await open_database("search", config.storage, self._breakers)
        self._cache = open_cache(self._breakers)
        store = ArtifactStore.from_environment()
        self._embeddings = await watch_embeddings(store)
        self._catalogue = await watch_catalogue(self._database, self._embeddings, config.retrieval)
        self._retrieval = SearchRetrieval(
            self._database,
            self._embeddings,
            config.retrieval,
            cache=self._cache,
            catalogue=self._catalogue,
            breakers=self._breakers,
        )
        self._trial = VersionTrial(trial_of_embeddings(store), self._arm, stage="semantic", subject=searcher)
        self._health = ReplicaHealth()
        self._metrics = export_stores(
            self._database,
            self._cache,
            self._breakers,
            self._health.samples,
            artifact_samples(self._embeddings),
            trial_samples(self._trial),
        )
        self._health.watch(
            database=self._database,
            embeddings=self._embeddings,
            catalogue=self._catalogue,
            metrics=self._metrics,
            semantic=self._retrieval.threads,
            trial=self._trial,
        )
        self._health.probe(embeddings=IndexProbe(self._embeddings))
        # The first query opens connections and touches the whole index; no client should wait for that.
        await self._retrieval.retrieve(SearchRequest(q="warm up"), timeout_s=WARM_UP_S)
        self._trial.start()
        settle()

    async def retrieve(self, request: SearchRequest, timeout_s: float) -> Retrieval:
        """Return the candidates for *request* within *timeout_s*."""
        return await self._trial.retrieve(
            request, timeout_s, lambda left_s: self._retrieval.retrieve(request, timeout_s=left_s)
        )

    async def status(self) -> dict[str, Any]:
        """Return what this replica has loaded."""
        return {
            **artifact_status(self._embeddings),
            "trial": self._trial.status(),
            "changes": self._catalogue.status(),
            "breakers": self._breakers.report(),
            "most_replicas": most_replicas(),
            "health_check": self._health.status(),
            "alerts": self._metrics.alerts.firing(),
        }

    async def check_health(self) -> None:
        """Return if this process is well, whatever its dependencies are."""
        await self._health.check()

    def __del__(self) -> None:
        """Stop pulling changes."""
        if hasattr(self, "_catalogue"):
            self._catalogue.cancel()
        if hasattr(self, "_trial"):
            self._trial.cancel()

    def _arm(self, held: OnTrial[EmbeddingIndex]) -> SearchArm:
        """Search over an index on trial."""
        return SearchArm(
            held,
            self._database,
            self._cache,
            self._config.retrieval,
            self._config.breaker,
            embeddings=self._embeddings,
            catalogue=self._catalogue,
        )
