"""Rows of a score array to the best items, in a total order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SCORE_DECIMALS = 6


def best_items(
    item_ids: list[str], scores: npt.NDArray[np.float32], *, limit: int, without: frozenset[str]
) -> list[tuple[str, float]]:
    """
    Return the items with the highest scores, leaving out *without*.

    Args:
        item_ids: Length n.
        scores: float32, shape (n,).
        limit: Most items to return, at least 1.
        without: Items to leave out.

    Returns:
        At most *limit* pairs of item and score to six decimals, best first, equal scores by id; float32 sums are not
        the same in every place beyond that.
    """
    rounded = np.round(scores.astype(np.float64), SCORE_DECIMALS)
    wanted = min(limit + len(without), len(item_ids))
    if wanted == 0:
        return []
    least = np.partition(rounded, len(rounded) - wanted)[len(rounded) - wanted]
    rows = sorted(np.flatnonzero(rounded >= least).tolist(), key=lambda row: (-rounded[row], item_ids[row]))
    kept = [(item_ids[row], float(rounded[row])) for row in rows if item_ids[row] not in without]
    return kept[:limit]
