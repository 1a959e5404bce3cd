"""The ranking deployment: candidates in, total order out. It calls no one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from ray import serve

from artifacts.active import Loaded
from artifacts.factors import Factors
from artifacts.store import ArtifactStore
from contracts.ranked import RankedPage, RankRequest
from deployments.artifact_probes import FactorsProbe
from deployments.artifact_samples import artifact_samples, failed_samples
from deployments.artifact_watch import artifact_status, trial_of_factors, watch_factors
from deployments.options import INNER
from deployments.replica import settle
from deployments.replica_health import ReplicaHealth
from deployments.replica_log import log_beside_serve
from deployments.replica_metrics import export_replica
from ranking.config import RankingConfig
from ranking.rankers import FactorVersion, WeightedRanker


@serve.deployment(name="ranking", **INNER)
class RankingDeployment:
    """Holds the item factors: the current version, the one before and one on trial, loaded off the request path."""

    async def __init__(self) -> None:  # type: ignore[misc]  # Serve awaits it
        log_beside_serve()
        store = ArtifactStore.from_environment()
        self._factors = await watch_factors(store)
        self._trial = trial_of_factors(store, modes=["canary"])
        self._trial.start()
        self._config = RankingConfig()
        self._health = ReplicaHealth()
        self._metrics = export_replica(
            self._health.samples, artifact_samples(self._factors), failed_samples(self._trial)
        )
        self._health.watch(factors=self._factors, trial=self._trial, metrics=self._metrics)
        settle()
        self._health.probe(factors=FactorsProbe(self._factors))

    def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Take new weights and rules, in place: ``user_config`` of this deployment in the Serve file."""
        self._config = RankingConfig.model_validate(user_config)

    async def rank(self, request: RankRequest) -> RankedPage:
        """Return the page of the order that *request* asks for."""
        tried = self._trial.current
        held = (self._factors.current, self._factors.previous, tried.loaded if tried else None)
        versions = tuple(_version(loaded) for loaded in held if loaded is not None)
        return WeightedRanker(self._config, versions).rank(request)

    async def status(self) -> dict[str, Any]:
        """Return what this replica has loaded."""
        factors = artifact_status(self._factors)
        return {
            "healthy": factors["healthy"],
            "weights": self._config.version,
            "collaborative": factors,
            "health_check": self._health.status(),
            "alerts": self._metrics.alerts.firing(),
        }

    async def check_health(self) -> None:
        """Return if this process is well, whatever its dependencies are."""
        await self._health.check()


class _ItemRows:
    """The item half of a factor model, by product id."""

    def __init__(self, factors: Factors) -> None:
        self._factors = factors

    def rows_of(self, product_ids: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Positions in *product_ids* that have factors, shape (m,), and their factors, float32, shape (m, factors)."""
        rows = [self._factors.item_row(product_id) for product_id in product_ids]
        positions = np.array([position for position, row in enumerate(rows) if row is not None], dtype=np.int64)
        known = np.array([row for row in rows if row is not None], dtype=np.int64)
        return positions, self._factors.item_factors[known]


def _version(loaded: Loaded[Factors]) -> FactorVersion:
    transform = loaded.manifest.parameters.get("cf_transform", {"kind": "clip"})
    return FactorVersion(loaded.version, _ItemRows(loaded.value), transform)
