"""Rows of a score array to the best items, in a total order."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SCORE_DECIMALS = 6
_MARGIN = 2 * 10.0**-SCORE_DECIMALS
# Scores in the sample for each one wanted, and how many more than expected the bound lets through.
_SAMPLED = 8
_SPARE = 8


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
    looked_at = None if keep is None else np.flatnonzero(keep)
    rough = scores if looked_at is None else scores[looked_at]
    wanted = min(limit + len(without), len(rough))
    if wanted == 0:
        return []
    places = _best_places(rough, wanted)
    rounded = np.round(rough[places].astype(np.float64), SCORE_DECIMALS)
    rows = places if looked_at is None else looked_at[places]
    least = np.partition(rounded, len(rounded) - wanted)[len(rounded) - wanted]
    found = [(item_ids[rows[place]], float(rounded[place])) for place in np.flatnonzero(rounded >= least).tolist()]
    kept = [pair for pair in found if pair[0] not in without]
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))[:limit]


def _best_places(scores: npt.NDArray[np.float32], wanted: int) -> npt.NDArray[np.int64]:
    """
    The places of the *wanted* highest scores, of those that round to the same, and of some more.

    Only scores above a bound are put in order; a sample says where that bound may lie.
    """
    step = len(scores) // (_SAMPLED * wanted)
    if step > 1:
        sample = scores[::step]
        rank = 2 * wanted // step + _SPARE
        above = np.flatnonzero(scores >= np.partition(sample, len(sample) - rank)[len(sample) - rank])
        # Where the sample misled there are too few, and everything is looked at.
        if len(above) >= wanted:
            least = np.partition(scores[above], len(above) - wanted)[len(above) - wanted]
            return np.flatnonzero(scores >= least - _MARGIN)
    least = np.partition(scores, len(scores) - wanted)[len(scores) - wanted]
    return np.flatnonzero(scores >= least - _MARGIN)
