"""Several retrievers' lists into one, by reciprocal rank fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contracts.candidates import FloatArray, Placing, Retrieved, RetrieverName


@dataclass(frozen=True, slots=True)
class Fused:
    """
    The union of several lists.

    Attributes:
        product_ids: Every product of any list once, best first; equal scores by product id.
        rrf: float64, shape (n,), in (0, 1]: reciprocal rank sum over the largest possible, so 1 is first in every list.
        placings: For each retriever, where it placed each product.
    """

    product_ids: list[str]
    rrf: FloatArray
    placings: dict[RetrieverName, Placing]


def fuse(lists: Sequence[Retrieved], *, k: int = 60) -> Fused:
    """
    Return the union of *lists*, best first.

    Args:
        lists: One a retriever.
        k: How slowly a lower rank loses weight, at least 0.

    Source:
        Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
        Methods", 2009.
    """
    sums: dict[str, float] = {}
    for retrieved in lists:
        for rank, product_id in enumerate(retrieved.product_ids, start=1):
            sums[product_id] = sums.get(product_id, 0.0) + 1.0 / (k + rank)
    product_ids = sorted(sums, key=lambda product_id: (-sums[product_id], product_id))
    best_possible = len(lists) / (k + 1) if lists else 1.0
    rows = {product_id: row for row, product_id in enumerate(product_ids)}
    return Fused(
        product_ids=product_ids,
        rrf=np.array([sums[product_id] / best_possible for product_id in product_ids], dtype=np.float64),
        placings={retrieved.retriever: _placing(retrieved, rows) for retrieved in lists},
    )


def _placing(retrieved: Retrieved, rows: dict[str, int]) -> Placing:
    ranks = np.zeros(len(rows), dtype=np.int64)
    scores = np.full(len(rows), np.nan)
    for rank, (product_id, score) in enumerate(zip(retrieved.product_ids, retrieved.scores, strict=True), start=1):
        ranks[rows[product_id]] = rank
        scores[rows[product_id]] = score
    return Placing(ranks=ranks, scores=scores)
