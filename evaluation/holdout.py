"""What to withhold from a fit, to see whether it is found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Chosen = NDArray[np.bool_]
Users = NDArray[np.integer]


def after_a_time(at: NDArray[np.float64], *, share: float) -> Chosen:
    """
    Return which interactions to withhold: all that came after the moment that leaves the last *share* behind it.

    Nothing is learned from the future of anybody, as it is when a model serves; users and items that came later are
    new to it.

    Args:
        at: Shape (n,), when each interaction happened.
        share: In (0, 1); interactions of the moment itself stay.
    """
    if not len(at):
        return np.zeros(0, dtype=np.bool_)
    return at > np.quantile(at, 1 - share, method="lower")


def last_of_each_user(users: Users, last_at: NDArray[np.float64], *, share: float, at_least: int) -> Chosen:
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


def some_of_each_user(users: Users, *, share: float, at_least: int, seed: int) -> Chosen:
    """Return which interactions to withhold: *share* of each user's, by chance; for data without times."""
    chance = np.random.default_rng(seed).random(len(users))
    return last_of_each_user(users, chance, share=share, at_least=at_least)
