"""A hold-out in time: the last of what each user did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def last_of_each_user(
    users: NDArray[np.int64], last_at: NDArray[np.float64], *, share: float, at_least: int
) -> NDArray[np.bool_]:
    """
    Return which interactions to withhold: the last *share* of each user's, rounded down, at least one.

    Args:
        users: Shape (n,), the user of each interaction.
        last_at: Shape (n,), when it happened; equal times go by position, so the same input is split the same way.
        share: In (0, 1).
        at_least: Users with fewer interactions keep all of them.
    """
    order = np.lexsort((np.arange(len(users)), last_at, users))
    _, first, counts = np.unique(users[order], return_index=True, return_counts=True)
    withheld = np.where(counts >= at_least, np.maximum(1, np.floor(counts * share)), 0).astype(np.int64)
    place = np.arange(len(users)) - np.repeat(first, counts)
    chosen = np.zeros(len(users), dtype=np.bool_)
    chosen[order] = place >= np.repeat(counts - withheld, counts)
    return chosen
