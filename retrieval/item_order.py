"""Rows of a score array to the best items, in a total order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SCORE_DECIMALS = 6


def best_items(
    item_ids: list[str],
    scores: npt.NDArray[np.float32],
    *,
    limit: int,
    without: frozenset[str],
    keep: npt.NDArray[np.bool_] | None = None,
) -> list[tuple[str, float]]:
    """
    Return the items with the highest scores, leaving out *without*.

    Args:
        item_ids: Length n.
        scores: float32, shape (n,).
        limit: Most items to return, at least 1.
        without: Items to leave out.
        keep: The items to look at, shape (n,); None: all.

    Returns:
        At most *limit* pairs of item and score to six decimals, best first, equal scores by id; float32 sums are not
        the same in every place beyond that.
    """
    looked_at = np.arange(len(item_ids)) if keep is None else np.flatnonzero(keep)
    rounded = np.round(scores[looked_at].astype(np.float64), SCORE_DECIMALS)
    wanted = min(limit + len(without), len(looked_at))
    if wanted == 0:
        return []
    least = np.partition(rounded, len(rounded) - wanted)[len(rounded) - wanted]
    found = [(item_ids[looked_at[place]], float(rounded[place])) for place in np.flatnonzero(rounded >= least).tolist()]
    kept = [pair for pair in found if pair[0] not in without]
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))[:limit]
