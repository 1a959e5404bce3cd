"""Candidates by what similar users liked: the factor model's predicted preference."""

from __future__ import annotations

import asyncio

import numpy as np
import numpy.typing as npt

from artifacts.factors import Factors
from contracts.candidates import Retrieved
from contracts.requests import RecommendationRequest
from retrieval.item_order import best_items
from retrieval.live_catalogue import LiveCatalogue, Look


class CollaborativeRetriever:
    """
    Finds the products a factor model predicts a user to prefer.

    Args:
        catalogue: Says which items there are and pass a request's filters; None: any.
        limit: Most products.
        widening: How many times the limit is looked at for a request with filters while the columns are not loaded.
    """

    def __init__(self, catalogue: LiveCatalogue | None, *, limit: int, widening: int) -> None:
        self._catalogue = catalogue
        self._limit = limit
        self._widening = widening

    async def retrieve(
        self,
        request: RecommendationRequest,
        factors: Factors,
        user_vector: npt.NDArray[np.float32],
        *,
        without: frozenset[str],
    ) -> tuple[Retrieved, Look]:
        """
        Return the products with the largest predicted preference that pass the request's filters, best first.

        *without* is left out. The score is the dot product of the user's and the item's factors, no unit. What was
        looked at comes with it.
        """
        return await asyncio.to_thread(self._preferred, request, factors, user_vector, without)

    def _preferred(
        self,
        request: RecommendationRequest,
        factors: Factors,
        user_vector: npt.NDArray[np.float32],
        without: frozenset[str],
    ) -> tuple[Retrieved, Look]:
        look = Look() if self._catalogue is None else self._catalogue.look(request, factors)
        keep = look.items_kept()
        limit = self._limit * (self._widening if keep is None and request.filtered else 1)
        found = best_items(
            factors.item_ids, factors.item_factors @ user_vector, limit=limit, without=without, keep=keep
        )
        product_ids = [product_id for product_id, _ in found]
        retrieved = Retrieved(
            retriever="collaborative",
            product_ids=product_ids,
            scores=np.array([score for _, score in found], dtype=np.float64),
            truncated=len(found) == limit,
            source="factors",
            revisions=look.revisions(product_ids),
        )
        return retrieved, look
