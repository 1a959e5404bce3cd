"""Several retrievers' lists into one: by relevance where all of them have it, else by rank."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from contracts.candidates import FloatArray, Placing, Retrieved, RetrieverName


@dataclass(frozen=True, slots=True)
class Fused:
    """
    The union of several lists.

    Attributes:
        product_ids: Every product of any list once, best first; equal scores by product id.
        scores: float64, shape (n,), in [0, 1].
        placings: For each retriever, where it placed each product.
    """

    product_ids: list[str]
    scores: FloatArray
    placings: dict[RetrieverName, Placing]

    def first(self, limit: int) -> Fused:
        """The best *limit* of them."""
        if len(self.product_ids) <= limit:
            return self
        placings = {
            name: Placing(ranks=placing.ranks[:limit], scores=placing.scores[:limit])
            for name, placing in self.placings.items()
        }
        return Fused(self.product_ids[:limit], self.scores[:limit], placings)


Fusing = Callable[[Sequence[Retrieved]], Fused]


def fuse(lists: Sequence[Retrieved], *, k: int = 60) -> Fused:
    """
    Return the union of *lists*, best first, by rank alone: for scores without a common scale.

    The score is the reciprocal rank sum over the largest possible, so 1 is first in every list.

    Args:
        lists: One a retriever.
        k: How slowly a lower rank loses weight, at least 0.

    Source:
        Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
        Methods", 2009.
    """
    best_possible = len(lists) / (k + 1) if lists else 1.0
    sums: dict[str, float] = {}
    for retrieved in lists:
        for rank, product_id in enumerate(retrieved.product_ids, start=1):
            sums[product_id] = sums.get(product_id, 0.0) + 1.0 / (k + rank)
    return _fused(lists, {product_id: total / best_possible for product_id, total in sums.items()})


def blend(lists: Sequence[Retrieved], *, weights: Mapping[RetrieverName, float]) -> Fused:
    """
    Return the union of *lists*, best first, by the weighted mean of their relevance.

    A product that a list lacks counts as its retriever rates it elsewhere, or as irrelevant.

    Args:
        lists: One a retriever, each with its relevance.
        weights: Of each retriever, above 0; only those of *lists* count.

    Source:
        Bruch, Gai, Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval", 2023: a convex combination of scores
        on fixed scales beats reciprocal ranks, in and out of domain.
    """
    total = sum(weights[retrieved.retriever] for retrieved in lists)
    sums = dict.fromkeys((product_id for retrieved in lists for product_id in retrieved.product_ids), 0.0)
    for retrieved in lists:
        assert retrieved.relevance is not None
        rated = {**retrieved.elsewhere, **dict(zip(retrieved.product_ids, retrieved.relevance.tolist(), strict=True))}
        for product_id in sums.keys() & rated.keys():
            sums[product_id] += weights[retrieved.retriever] / total * rated[product_id]
    return _fused(lists, sums)


def _fused(lists: Sequence[Retrieved], scores: Mapping[str, float]) -> Fused:
    product_ids = sorted(scores, key=lambda product_id: (-scores[product_id], product_id))
    rows = {product_id: row for row, product_id in enumerate(product_ids)}
    return Fused(
        product_ids=product_ids,
        scores=np.array([scores[product_id] for product_id in product_ids], dtype=np.float64),
        placings={retrieved.retriever: _placing(retrieved, rows) for retrieved in lists},
    )


def _placing(retrieved: Retrieved, rows: Mapping[str, int]) -> Placing:
    ranks = np.zeros(len(rows), dtype=np.int64)
    scores = np.full(len(rows), np.nan)
    for rank, (product_id, score) in enumerate(zip(retrieved.product_ids, retrieved.scores, strict=True), start=1):
        ranks[rows[product_id]] = rank
        scores[rows[product_id]] = score
    return Placing(ranks=ranks, scores=scores)
