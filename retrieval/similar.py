"""Candidates like given products: by who liked them, and by what their texts say."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from artifacts.embedding_index import EmbeddingIndex, nearest_products
from artifacts.errors import ArtifactMissing
from artifacts.factors import Factors
from contracts.candidates import Retrieved, RetrieverName
from retrieval.fusion import fuse
from retrieval.item_order import best_items

# Neighbours looked at in each space, whatever the limit, so that a longer list continues a shorter one.
DEPTH = 500


class SimilarRetriever:
    """
    Finds products near given ones in the factor space and in the embedding space, fused.

    A product that only one of the two knows (one too new to have factors, say) is found through that one.
    """

    def __init__(self, *, limit: int, rrf_k: int) -> None:
        self._limit = limit
        self._rrf_k = rrf_k

    async def retrieve(
        self, product_ids: list[str], *, factors: Factors | None, embeddings: EmbeddingIndex | None, widen: int = 1
    ) -> Retrieved:
        """
        Return the products most like *product_ids*, best first, without them; none when neither space knows them.

        *widen* times the limit are returned, for requests whose filters will drop some.
        The score is the reciprocal rank sum over the largest possible one, in (0, 1].

        Raises:
            ArtifactMissing: neither space is loaded.
        """
        if factors is None and embeddings is None:
            raise ArtifactMissing("neither collaborative factors nor an embedding index is loaded")
        limit, depth = self._limit * widen, DEPTH * widen
        fused = fuse(await asyncio.to_thread(_neighbours, product_ids, factors, embeddings, depth), k=self._rrf_k)
        return Retrieved(
            retriever="similar",
            product_ids=fused.product_ids[:limit],
            scores=fused.rrf[:limit],
            truncated=len(fused.product_ids) >= limit,
            source="+".join(name for name, space in (("factors", factors), ("faiss", embeddings)) if space is not None),
        )


def _neighbours(
    product_ids: list[str], factors: Factors | None, embeddings: EmbeddingIndex | None, depth: int
) -> list[Retrieved]:
    lists = []
    if factors is not None and (found := _by_factors(factors, product_ids, depth)):
        lists.append(_list("collaborative", found, depth))
    if embeddings is not None and (found := _by_text(embeddings, product_ids, depth)):
        lists.append(_list("semantic", found, depth))
    return lists


def _by_factors(factors: Factors, product_ids: list[str], depth: int) -> list[tuple[str, float]]:
    """Items by the cosine between their factors and the mean direction of the given items'."""
    rows = [row for row in map(factors.item_row, product_ids) if row is not None]
    if not rows:
        return []
    unit = factors.item_directions
    direction = _mean_direction(unit[rows])
    return best_items(factors.item_ids, unit @ direction, limit=depth, without=frozenset(product_ids))


def _by_text(embeddings: EmbeddingIndex, product_ids: list[str], depth: int) -> list[tuple[str, float]]:
    """Products by the cosine between their text's vector and the mean direction of the given products'."""
    rows, vectors = embeddings.vectors(product_ids)
    if not rows:
        return []
    given = set(product_ids)
    found = nearest_products(
        embeddings.index, embeddings.product_ids, _mean_direction(vectors), limit=depth + len(given)
    )
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
