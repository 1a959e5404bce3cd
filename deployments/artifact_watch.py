"""The active artifacts that a replica holds, kept up to date beside the requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any, TypeVar

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from artifacts.store import ArtifactStore
from artifacts.trial_watch import TrialArtifact
from artifacts.trials import Mode
from deployments.replica import replica_name

T = TypeVar("T")

FIRST_LOAD_S = 60.0
_POLL_S = 0.02


async def watch_embeddings(store: ArtifactStore) -> ActiveArtifact[EmbeddingIndex]:
    """Return the active embedding index; waits for the first load, whatever comes of it."""
    return await _watched(ActiveArtifact("embeddings", EmbeddingIndex.load, store))


async def watch_factors(store: ArtifactStore) -> ActiveArtifact[Factors]:
    """Return the active factor model; waits for the first load, whatever comes of it."""
    return await _watched(ActiveArtifact("collaborative", Factors.load, store))


def trial_of_embeddings(store: ArtifactStore) -> TrialArtifact[EmbeddingIndex]:
    """Return the embedding index on trial; not watched yet."""
    return TrialArtifact("embeddings", EmbeddingIndex.load, store, replica=replica_name())


def trial_of_factors(store: ArtifactStore, modes: Collection[Mode] = ("shadow", "canary")) -> TrialArtifact[Factors]:
    """Return the factor model on trial in one of *modes*; not watched yet."""
    return TrialArtifact("collaborative", Factors.load, store, replica=replica_name(), modes=modes)


def artifact_status(active: ActiveArtifact[Any]) -> dict[str, Any]:
    """What is loaded, and why it is not what it should be."""
    return {
        "healthy": active.cause is None and active.refused is None,
        "version": active.current.version if active.current else None,
        "cause": active.cause,
        "refused": None if active.refused is None else active.refused.message,
        "looking_s": round(active.looking_s, 1),
    }


async def _watched(active: ActiveArtifact[T]) -> ActiveArtifact[T]:
    active.start()
    # Not in a thread: a store that hangs would hold up the end of this process too.
    deadline = time.monotonic() + FIRST_LOAD_S
    while not active.looked and time.monotonic() < deadline:  # noqa: ASYNC110  a thread looks, not a task
        await asyncio.sleep(_POLL_S)
    return active
