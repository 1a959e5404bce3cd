"""Candidates by meaning: the query's embedding against the active index."""

from __future__ import annotations

import asyncio

import numpy as np

from artifacts.active import ActiveArtifact, Loaded
from artifacts.embedding_index import EmbeddingIndex, nearest_products
from artifacts.errors import ArtifactCorrupt, ArtifactMissing
from contracts.candidates import Retrieved


class SemanticRetriever:
    """Finds the products whose text means what the query means."""

    def __init__(self, embeddings: ActiveArtifact[EmbeddingIndex], *, limit: int, min_cosine: float) -> None:
        self._embeddings = embeddings
        self._limit = limit
        self._min_cosine = min_cosine

    async def retrieve(self, query: str, *, widen: int = 1) -> tuple[Retrieved, Loaded[EmbeddingIndex]]:
        """
        Return the products nearest to *query*, best first, and the index that answered.

        The score is the cosine in [-1, 1]; products below the least cosine are left out.

        Args:
            query: The query.
            widen: Look at this many times the limit, for requests whose filters will drop some.

        Raises:
            ArtifactMissing: no embeddings artifact is active.
            ArtifactCorrupt: the active one is damaged and there is no sound one to take its place.
        """
        loaded = self._embeddings.current
        if loaded is None:
            if self._embeddings.cause == "artifact_corrupt":
                raise ArtifactCorrupt(
                    "the active embeddings artifact is damaged and no sound version stands in; train it again"
                )
            raise ArtifactMissing("no embeddings artifact is active; train one")
        limit = self._limit * widen
        found = await asyncio.to_thread(_nearest, loaded.value, query, limit)
        close = [(product_id, cosine) for product_id, cosine in found if cosine >= self._min_cosine]
        retrieved = Retrieved(
            retriever="semantic",
            product_ids=[product_id for product_id, _ in close],
            scores=np.array([cosine for _, cosine in close], dtype=np.float64),
            truncated=len(close) == len(found) and len(found) == limit,
            source="faiss",
        )
        return retrieved, loaded


def _nearest(embeddings: EmbeddingIndex, query: str, limit: int) -> list[tuple[str, float]]:
    vector = embeddings.encoder.encode([query])[0]
    return nearest_products(embeddings.index, embeddings.product_ids, vector, limit=limit)
