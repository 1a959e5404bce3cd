"""Candidates by what similar users liked: the factor model's predicted preference."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from artifacts.factors import Factors
from contracts.candidates import Retrieved
from retrieval.item_order import best_items


class CollaborativeRetriever:
    """Finds the products a factor model predicts a user to prefer."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit

    async def retrieve(
        self, factors: Factors, user_vector: npt.NDArray[np.float32], *, without: frozenset[str], widen: int = 1
    ) -> Retrieved:
        """
        Return the products with the largest predicted preference, best first, leaving out *without*.

        *widen* times the limit are returned, for requests whose filters will drop some.
        The score is the dot product of the user's and the item's factors, no unit.
        """
        limit = self._limit * widen
        found = await asyncio.to_thread(_preferred, factors, user_vector, limit, without)
        return Retrieved(
            retriever="collaborative",
            product_ids=[product_id for product_id, _ in found],
            scores=np.array([score for _, score in found], dtype=np.float64),
            truncated=len(found) == limit,
            source="factors",
        )


def _preferred(
    factors: Factors, user_vector: npt.NDArray[np.float32], limit: int, without: frozenset[str]
) -> list[tuple[str, float]]:
    return best_items(factors.item_ids, factors.item_factors @ user_vector, limit=limit, without=without)
