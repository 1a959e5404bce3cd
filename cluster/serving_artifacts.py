"""Which artifacts the replicas that serve can use, as ``/health`` tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from cluster.rebuild_record import Kind

TIMEOUT_S = 2.0
UNUSABLE = {"artifact_missing", "artifact_corrupt"}


@dataclass(frozen=True)
class ServingArtifacts:
    """
    What the replicas that were asked said; another replica may say something else.

    Attributes:
        usable: Kinds of which each of them holds a version, be it one that stands in.
        unusable: Kinds of which one of them holds none, and why.
    """

    usable: set[Kind] = field(default_factory=set)
    unusable: dict[Kind, str] = field(default_factory=dict)

    @classmethod
    def asked(cls, url: str) -> ServingArtifacts:
        """Ask the graph at *url*; nothing is known of one that does not answer."""
        try:
            answer = httpx.get(f"{url}/health", timeout=TIMEOUT_S, trust_env=False).json()
            return cls.told(answer["deployments"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError):
            return cls()

    @classmethod
    def told(cls, deployments: Mapping[str, Any]) -> ServingArtifacts:
        """Read the part ``deployments`` of what ``/health`` answers."""
        found = cls()
        for kind, _, status in statuses(deployments):
            if status.get("version"):
                found.usable.add(kind)
            elif status.get("cause") in UNUSABLE:
                found.unusable[kind] = status.get("refused") or status["cause"]
        found.usable.difference_update(found.unusable)
        return found


def statuses(deployments: Mapping[str, Any]) -> Iterator[tuple[Kind, str, Mapping[str, Any]]]:
    """Yield, of each part that holds artifacts, the kind, the part's name and what it says of the version."""
    recommendation = deployments.get("recommendation", {})
    yield "embeddings", "search", deployments.get("search", {})
    yield "embeddings", "recommendation", recommendation.get("embeddings", {})
    yield "collaborative", "recommendation", recommendation.get("collaborative", {})
    yield "collaborative", "ranking", deployments.get("ranking", {}).get("collaborative", {})
