"""Candidates like given products: by who liked them, and by what their texts say."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from artifacts.errors import ArtifactMissing
from artifacts.factors import Factors
from contracts.candidates import Retrieved, RetrieverName
from contracts.requests import RecommendationRequest
from retrieval.fusion import fuse
from retrieval.item_order import best_items
from retrieval.live_catalogue import LiveCatalogue, Look

# Neighbours looked at in each space, whatever the limit, so that a longer list continues a shorter one.
DEPTH = 500


class SimilarRetriever:
    """
    Finds products near given ones in the factor space and in the embedding space, fused.

    A product that only one of the two knows (one too new to have factors, say) is found through that one.

    Args:
        catalogue: The embedding space, and which products there are and pass a request's filters; None: factors only.
        limit: Most products.
        rrf_k: How slowly a lower rank loses weight in fusion.
        widening: How many times the limit is looked at for a request with filters while the columns are not loaded.
    """

    def __init__(self, catalogue: LiveCatalogue | None, *, limit: int, rrf_k: int, widening: int) -> None:
        self._catalogue = catalogue
        self._limit = limit
        self._rrf_k = rrf_k
        self._widening = widening

    async def retrieve(self, request: RecommendationRequest, *, factors: Factors | None) -> tuple[Retrieved, Look]:
        """
        Return the products most like the request's, best first, without them; none when neither space knows them.

        The score is the reciprocal rank sum over the largest possible one, in (0, 1]. What was looked at comes with it.

        Raises:
            ArtifactMissing: neither space is loaded.
        """
        return await asyncio.to_thread(self._like, request, factors)

    def _like(self, request: RecommendationRequest, factors: Factors | None) -> tuple[Retrieved, Look]:
        look = Look() if self._catalogue is None else self._catalogue.look(request, factors)
        if factors is None and look.embeddings is None:
            raise ArtifactMissing("neither collaborative factors nor an embedding index is loaded")
        widen = self._widening if look.keep is None and request.filtered else 1
        limit, depth = self._limit * widen, DEPTH * widen
        fused = fuse(_neighbours(request.product_ids or [], factors, look, depth), k=self._rrf_k)
        product_ids = fused.product_ids[:limit]
        spaces = (("factors", factors), ("faiss", look.embeddings))
        retrieved = Retrieved(
            retriever="similar",
            product_ids=product_ids,
            scores=fused.scores[:limit],
            truncated=len(fused.product_ids) >= limit,
            source="+".join(name for name, space in spaces if space is not None),
            revisions=look.revisions(product_ids),
        )
        return retrieved, look


def _neighbours(product_ids: list[str], factors: Factors | None, look: Look, depth: int) -> list[Retrieved]:
    lists = []
    if factors is not None and (found := _by_factors(factors, product_ids, look, depth)):
        lists.append(_list("collaborative", found, depth))
    if found := _by_text(product_ids, look, depth):
        lists.append(_list("semantic", found, depth))
    return lists


def _by_factors(factors: Factors, product_ids: list[str], look: Look, depth: int) -> list[tuple[str, float]]:
    """Items by the cosine between their factors and the mean direction of the given items'."""
    rows = [row for row in map(factors.item_row, product_ids) if row is not None]
    if not rows:
        return []
    unit = factors.item_directions
    scores = unit @ _mean_direction(unit[rows])
    return best_items(factors.item_ids, scores, limit=depth, without=frozenset(product_ids), keep=look.items_kept())


def _by_text(product_ids: list[str], look: Look, depth: int) -> list[tuple[str, float]]:
    """Products by the cosine between their text's vector and the mean direction of the given products'."""
    vectors = None if look.embeddings is None else look.embeddings.vectors(product_ids)
    if look.embeddings is None or vectors is None or not len(vectors):
        return []
    given = set(product_ids)
    found = look.embeddings.nearest(_mean_direction(vectors), depth + len(given), keep=look.keep)
    return [(product_id, cosine) for product_id, cosine in found if product_id not in given]


def _mean_direction(unit: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    mean = unit.mean(axis=0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length > 0 else mean, dtype=np.float32)


def _list(retriever: RetrieverName, found: list[tuple[str, float]], depth: int) -> Retrieved:
    return Retrieved(
        retriever=retriever,
        product_ids=[product_id for product_id, _ in found],
        scores=np.array([score for _, score in found], dtype=np.float64),
        truncated=len(found) >= depth,
        source=retriever,
    )
