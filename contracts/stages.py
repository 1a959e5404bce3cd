"""What each part of the graph did for one answer, in closed vocabularies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

StageName = Literal["keyword", "semantic", "collaborative", "similar", "popular", "profile", "hydrate", "rank", "cache"]
Status = Literal["ok", "fallback", "skipped"]
Cause = Literal[
    "circuit_open",
    "timeout",
    "unavailable",
    "overloaded",
    "artifact_missing",
    "artifact_corrupt",
    "replica_lag",
    "unknown_user",
    "version_mismatch",
    "not_requested",
    "no_match",
]

STAGE_NAMES: tuple[StageName, ...] = get_args(StageName)
CAUSES: tuple[Cause, ...] = get_args(Cause)

RETRIEVERS: frozenset[StageName] = frozenset({"keyword", "semantic", "collaborative", "similar", "popular"})

# Causes that are part of healthy service: they explain an answer and never degrade it.
HEALTHY_CAUSES: frozenset[Cause] = frozenset({"unknown_user", "version_mismatch", "not_requested", "no_match"})

# Stand-ins that give the same result from another place: the primary for a read replica, the database for the cache,
# the gateway for the deployment that usually reads the popular list.
SAME_FROM_ELSEWHERE: frozenset[str] = frozenset({"primary", "database", "gateway"})


@dataclass(frozen=True, slots=True)
class Stage:
    """
    One stage of one answer.

    Attributes:
        name: Which part of the graph this is.
        status: ``ok`` ran as asked; ``fallback`` something stood in for it; ``skipped`` it gave nothing.
        source: Where its result came from (``faiss``, ``replica-1``, ``redis``), when it has one.
        fallback: What stood in, when the status is ``fallback``.
        cause: Why it is not plainly ``ok``.
        ms: Wall-clock milliseconds spent.
    """

    name: StageName
    status: Status = "ok"
    source: str | None = None
    fallback: str | None = None
    cause: Cause | None = None
    ms: float = 0.0

    @property
    def degraded(self) -> bool:
        """Whether a part did not do its work; healthy causes do not count."""
        return self.cause is not None and self.cause not in HEALTHY_CAUSES

    @property
    def may_change_hits(self) -> bool:
        """Whether the hits may differ from the healthy answer, not only the place they were read from."""
        return self.degraded and self.fallback not in SAME_FROM_ELSEWHERE
