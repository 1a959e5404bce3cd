"""The active artifacts that a replica holds, kept up to date beside the requests."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, TypeVar

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from artifacts.manifest import Manifest
from artifacts.store import ArtifactStore

T = TypeVar("T")

FIRST_LOAD_S = 60.0


async def watch_embeddings(store: ArtifactStore) -> ActiveArtifact[EmbeddingIndex]:
    """Return the active embedding index; waits for the first load, whatever comes of it."""
    return await _watched(ActiveArtifact("embeddings", EmbeddingIndex.load, store))


async def watch_factors(store: ArtifactStore) -> ActiveArtifact[Factors]:
    """Return the active factor model; waits for the first load, whatever comes of it."""
    return await _watched(ActiveArtifact("collaborative", _load_factors, store))


def artifact_status(active: ActiveArtifact[Any]) -> dict[str, Any]:
    """What is loaded, and why it is not what it should be."""
    return {
        "healthy": active.cause is None and active.refused is None,
        "version": active.current.version if active.current else None,
        "cause": active.cause,
        "refused": None if active.refused is None else active.refused.message,
    }


def _load_factors(directory: Path, _manifest: Manifest) -> Factors:
    return Factors.load(directory)


async def _watched(active: ActiveArtifact[T]) -> ActiveArtifact[T]:
    active.start()
    await asyncio.to_thread(active.wait, FIRST_LOAD_S)
    return active
