"""The recommendation deployment: candidates for a user, and the user's vector."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve

from artifacts.factors import Factors
from artifacts.store import ArtifactStore
from artifacts.trial_watch import OnTrial
from contracts.arms import personal_to
from contracts.candidates import Profile, Retrieval
from contracts.requests import RecommendationRequest
from deployments.artifact_probes import FactorsProbe, IndexProbe
from deployments.artifact_samples import artifact_samples
from deployments.artifact_watch import artifact_status, trial_of_factors, watch_embeddings, watch_factors
from deployments.catalogue_watch import watch_catalogue
from deployments.config import GraphConfig
from deployments.options import INNER
from deployments.replica import most_replicas, settle
from deployments.replica_health import ReplicaHealth
from deployments.replica_log import log_beside_serve
from deployments.store_metrics import export_stores
from deployments.stores import open_cache, open_database
from deployments.trial_arms import RecommendationArm
from deployments.trial_samples import trial_samples
from deployments.version_trial import VersionTrial
from retrieval.recommendation import RecommendationRetrieval
from storage.breakers import Breakers

WARM_UP_S = 5.0


@serve.deployment(name="recommendation", **INNER)
class RecommendationDeployment:
    """Holds the factor model, the embedding index and the live catalogue; retrieves candidates only."""

    async def __init__(self, config: GraphConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        log_beside_serve()
        self._config = config
        self._breakers = Breakers(config.breaker)
        store = ArtifactStore.from_environment()
        self._factors, self._embeddings = await asyncio.gather(watch_factors(store), watch_embeddings(store))
        self._cache = open_cache(self._breakers)
        self._database = database = await open_database("recommendation", config.storage, self._breakers)
        self._catalogue = await watch_catalogue(database, self._embeddings, config.retrieval)
        self._retrieval = RecommendationRetrieval(
            database,
            self._cache,
            config.retrieval,
            factors=self._factors,
            catalogue=self._catalogue,
        )
        self._trial = VersionTrial(trial_of_factors(store), self._arm, stage="collaborative", subject=personal_to)
        self._health = ReplicaHealth()
        self._metrics = export_stores(
            database,
            self._cache,
            self._breakers,
            self._health.samples,
            artifact_samples(self._factors, self._embeddings),
            trial_samples(self._trial),
        )
        self._health.watch(
            database=database,
            factors=self._factors,
            embeddings=self._embeddings,
            catalogue=self._catalogue,
            metrics=self._metrics,
            trial=self._trial,
        )
        self._health.probe(factors=FactorsProbe(self._factors), embeddings=IndexProbe(self._embeddings))
        # The first request opens connections; no client should wait for that.
        await self._retrieval.retrieve(RecommendationRequest(), timeout_s=WARM_UP_S)
        self._trial.start()
        settle()

    async def retrieve(self, request: RecommendationRequest, timeout_s: float) -> Retrieval:
        """Return the candidates for *request* within *timeout_s*."""
        return await self._trial.retrieve(
            request, timeout_s, lambda left_s: self._retrieval.retrieve(request, timeout_s=left_s)
        )

    async def profile(self, user_id: str, timeout_s: float, after: str | None) -> Profile:
        """Return the user's vector, for a search that is being made for this user; *after* is a consistency token."""
        profile = await self._trial.by_canary(
            user_id, lambda arm: arm.profile(user_id, timeout_s=timeout_s, after=after)
        )
        return profile or await self._retrieval.profile(user_id, timeout_s=timeout_s, after=after)

    async def status(self) -> dict[str, Any]:
        """Return what this replica has loaded."""
        factors, embeddings = artifact_status(self._factors), artifact_status(self._embeddings)
        healthy = factors["healthy"] and embeddings["healthy"]
        return {
            "healthy": healthy,
            "collaborative": factors,
            "embeddings": embeddings,
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

    def _arm(self, held: OnTrial[Factors]) -> RecommendationArm:
        """Recommendations by a model on trial."""
        return RecommendationArm(
            held,
            self._database,
            self._cache,
            self._config.retrieval,
            active=self._retrieval,
            catalogue=self._catalogue,
        )
