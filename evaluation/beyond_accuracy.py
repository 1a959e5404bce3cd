"""What lists do to a catalogue, whether or not they hit."""

from __future__ import annotations

import numpy as np

from evaluation.metrics import Lists, SparseMatrix


def coverage(lists: Lists, items: int) -> float:
    """Return the share of *items* that stand in at least one list."""
    return len(np.unique(lists[lists >= 0])) / items if items else 0.0


def novelty(lists: Lists, known: SparseMatrix) -> float:
    """
    Return the mean surprise of a listed item, in bits: ``-log2`` of the share of users who know it.

    Args:
        lists: Shape (n, k).
        known: CSR matrix (users, items). An item that nobody knows counts as known to one.

    Source:
        Zhou et al., "Solving the apparent diversity-accuracy dilemma of recommender systems", 2010.
    """
    users, items = known.shape
    counts = np.bincount(known.indices, minlength=items)
    listed = lists[lists >= 0]
    return float(-np.log2(np.maximum(counts[listed], 1) / users).mean()) if len(listed) else 0.0
