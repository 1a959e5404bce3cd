"""The state of every part of the graph, as one gateway replica sees it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from deployments.hop import Hop, HopFailed
from storage.budget import budget_problem, connection_budget
from storage.cache import Cache
from storage.config import StorageConfig
from storage.database import Database
from storage.errors import CacheUnavailable

log = logging.getLogger(__name__)

STATUS_TIMEOUT_S = 1.0


class GraphHealth:
    """
    Asks every part how it is.

    Args:
        parts: The other deployments by name; each has a method ``status``.
        database: This replica's.
        cache: This replica's.
        storage: The pools' sizes, the same in every deployment.
        own_replicas: The most replicas of the deployment that asks.
    """

    def __init__(
        self,
        parts: Mapping[str, Hop],
        database: Database,
        cache: Cache,
        storage: StorageConfig,
        *,
        own_replicas: int,
    ) -> None:
        self._parts = parts
        self._database = database
        self._cache = cache
        self._storage = storage
        # What each deployment that uses the database said last; one that is down still counts.
        self._replicas = {"gateway": own_replicas}
        self._sessions: dict[str, int] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the other deployments."""
        return tuple(self._parts)

    async def report(self) -> dict[str, Any]:
        """
        Return the state of the databases, the cache and each deployment, and whether connections suffice.

        All are asked at once, and none is waited for longer than a second.
        """
        databases = {endpoint.name: orjson.loads(orjson.dumps(endpoint)) for endpoint in self._database.status()}
        cache, *statuses = await asyncio.gather(self._cache_status(), *(self.status(name) for name in self._parts))
        parts = dict(zip(self._parts, statuses, strict=True))
        well = (
            all(endpoint["healthy"] and not endpoint["lagging"] for endpoint in databases.values())
            and cache["healthy"]
            and all(part["healthy"] for part in parts.values())
        )
        return {
            "status": "ok" if well else "degraded",
            "databases": databases,
            "connection_budget": self._connection_budget(),
            "cache": cache,
            "deployments": parts,
        }

    async def status(self, name: str, *, timeout_s: float = STATUS_TIMEOUT_S) -> dict[str, Any]:
        """Return what one replica of the deployment *name* says of itself, or why none does."""
        try:
            status = await self._parts[name].status(timeout_s=timeout_s)
        except HopFailed as failure:
            return {"healthy": False, "cause": failure.cause}
        if "most_replicas" in status:
            self._replicas[name] = status["most_replicas"]
            self._sessions[name] = status["most_replicas"] * status.get("sessions", 0)
        return status

    async def ready(self) -> bool:
        """Return whether anything can be answered: a database answers, or some replica holds an artifact."""
        if any(endpoint.healthy for endpoint in self._database.status()):
            return True
        search, recommendation = await asyncio.gather(self.status("search"), self.status("recommendation"))
        held = [search, recommendation.get("collaborative", {}), recommendation.get("embeddings", {})]
        return any(artifact.get("version") for artifact in held)

    def warn_of_connections(self) -> None:
        """Log what to set if the servers have fewer connections than all replicas together may open."""
        problem = self._connection_budget()["problem"]
        if problem is not None:
            log.error("%s", problem)

    def _connection_budget(self) -> dict[str, Any]:
        usable = {endpoint.name: endpoint.max_connections for endpoint in self._database.status()}
        sessions = sum(self._sessions.values())
        return {
            "most_replicas": self._replicas,
            "needed": connection_budget(self._replicas, self._storage, sessions=sessions),
            "usable": usable,
            "problem": budget_problem(self._replicas, self._storage, usable, sessions=sessions),
        }

    async def _cache_status(self) -> dict[str, Any]:
        known = {
            "configured": self._cache.configured,
            "key_epoch": self._cache.key_epoch,
            "reads": {purpose: orjson.loads(orjson.dumps(counts)) for purpose, counts in self._cache.stats().items()},
        }
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S):
                await self._cache.ping()
        except (CacheUnavailable, TimeoutError) as error:
            return {"healthy": False, "problem": str(error) or "no answer in time", **known}
        return {"healthy": True, **known}


def firing(own: Sequence[Mapping[str, str]], parts: Iterable[Mapping[str, Any]]) -> list[Mapping[str, str]]:
    """Return the alerts that are on in this process and in the *parts* that say theirs, each once."""
    every = [*own, *(alert for part in parts for alert in part.get("alerts", ()))]
    return list({(alert["alert"], alert["text"]): alert for alert in every}.values())
