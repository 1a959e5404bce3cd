"""Candidates by meaning: the query's embedding against the live embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from artifacts.embedding_index import EmbeddingIndex
from artifacts.encoder import OnnxEncoder
from artifacts.errors import ArtifactCorrupt, ArtifactMissing
from artifacts.held import Held
from contracts.candidates import Retrieved
from contracts.requests import SearchRequest
from retrieval.live_catalogue import LiveCatalogue, Look
from retrieval.query_vectors import QueryVectors
from retrieval.threads import ThreadsBusy, WorkThreads
from storage.circuit_breaker import CircuitBreaker
from storage.guard import guarded


class SemanticRetriever:
    """
    Finds the products whose text means what the query means.

    Args:
        embeddings: Says why there is no index, where there is none.
        catalogue: What is looked in.
        limit: Most products.
        min_cosine: Products below it are left out.
        widening: How many times the limit is looked at for a request with filters while the columns that filters need
            are not loaded.
        breaker: Tells whether to look at all; None: one of its own.
        threads: Where to look; None: in threads of its own.

    Attributes:
        threads: Where it looks.
    """

    def __init__(
        self,
        embeddings: Held[EmbeddingIndex],
        catalogue: LiveCatalogue,
        *,
        limit: int,
        min_cosine: float,
        widening: int,
        breaker: CircuitBreaker | None = None,
        threads: WorkThreads | None = None,
    ) -> None:
        self.threads = threads or WorkThreads("semantic")
        self._breaker = breaker or CircuitBreaker("semantic")
        self._embeddings = embeddings
        self._catalogue = catalogue
        self._limit = limit
        self._min_cosine = min_cosine
        self._widening = widening
        self._vectors: QueryVectors | None = None

    async def retrieve(self, request: SearchRequest) -> tuple[Retrieved, Look]:
        """
        Return the products nearest to the query that pass the request's filters, best first, and what was looked at.

        The score is the cosine in [-1, 1], the relevance the same from 0; products below the least cosine are left out.

        Raises:
            ArtifactMissing: no embeddings artifact is active.
            ArtifactCorrupt: the active one is damaged and there is no sound one to take its place.
            CircuitOpen: looking kept failing, or taking too long.
            ThreadsBusy: too many are looking.
        """
        with guarded(self._breaker, failures=(Exception,)) as permit:
            try:
                return await self.threads.run(lambda: self._found(request))
            except (ArtifactMissing, ArtifactCorrupt, ThreadsBusy):
                permit.released()
                raise

    def rating(self, retrieved: Retrieved, look: Look, request: SearchRequest, product_ids: Sequence[str]) -> Retrieved:
        """
        Return *retrieved* with the relevance of those *product_ids* that it lacks, in about a millisecond.

        Args:
            retrieved: What was found for *request*.
            look: What it was found in.
            product_ids: What others found, some hundreds at most, each once; those without a vector stay unrated.
        """
        if look.loaded is None or look.embeddings is None:
            return retrieved
        listed = frozenset(retrieved.product_ids)
        others = [product_id for product_id in product_ids if product_id not in listed]
        vector = self._query_vectors(look.loaded.value.encoder).of(request.q)
        cosines = look.embeddings.cosines(others, vector)
        return replace(retrieved, elsewhere={product_id: max(0.0, cosine) for product_id, cosine in cosines.items()})

    def _found(self, request: SearchRequest) -> tuple[Retrieved, Look]:
        look = self._catalogue.look(request)
        if look.loaded is None or look.embeddings is None:
            if self._embeddings.cause == "artifact_corrupt":
                raise ArtifactCorrupt(
                    "the active embeddings artifact is damaged and no sound version stands in; train it again"
                )
            raise ArtifactMissing("no embeddings artifact is active; train one")
        limit = self._limit * (self._widening if look.keep is None and request.filtered else 1)
        vector = self._query_vectors(look.loaded.value.encoder).of(request.q)
        found = look.embeddings.nearest(vector, limit, keep=look.keep)
        close = [(product_id, cosine) for product_id, cosine in found if cosine >= self._min_cosine]
        product_ids = [product_id for product_id, _ in close]
        cosines = np.array([cosine for _, cosine in close], dtype=np.float64)
        retrieved = Retrieved(
            retriever="semantic",
            product_ids=product_ids,
            scores=cosines,
            truncated=len(close) == len(found) and len(found) == limit,
            source="faiss",
            revisions=look.revisions(product_ids),
            relevance=np.clip(cosines, 0.0, 1.0),
        )
        return retrieved, look

    def _query_vectors(self, encoder: OnnxEncoder) -> QueryVectors:
        """Those of *encoder*; of one that is no longer in use nothing is kept."""
        vectors = self._vectors
        if vectors is None or vectors.encoder is not encoder:
            self._vectors = vectors = QueryVectors(encoder)
        return vectors
