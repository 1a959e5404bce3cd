"""Ranking metrics over many lists at once; binary relevance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BoolMatrix = NDArray[np.bool_]
FloatVector = NDArray[np.float64]


def ndcg(hits: BoolMatrix, relevant: NDArray[np.int64], *, at: int) -> FloatVector:
    """
    Return the normalised discounted cumulative gain of each list.

    Args:
        hits: Shape (n, k), k at least *at*; ``hits[row, rank]`` says whether the item at that rank is relevant.
        relevant: Shape (n,), how many relevant items there are for each list, at least 1.
        at: How many ranks count.

    Returns:
        float64, shape (n,), in [0, 1].

    Source:
        Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002.
    """
    discounts = 1 / np.log2(np.arange(2, at + 2))
    best = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(relevant, at)]
    gained: FloatVector = (hits[:, :at] * discounts).sum(axis=1) / best
    return gained


def recall(hits: BoolMatrix, relevant: NDArray[np.int64], *, at: int) -> FloatVector:
    """Return, for each list, the share of its relevant items among the first *at*; shapes as for `ndcg`."""
    found: FloatVector = hits[:, :at].sum(axis=1) / relevant
    return found
