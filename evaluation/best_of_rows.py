"""The best columns of many rows of scores, in a total order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import Lists

# Scores in the sample for each one wanted, and how many more than expected the bound lets through.
_SAMPLED = 8
_SPARE = 8


def best_of_rows(scores: NDArray[np.float32], limit: int) -> Lists:
    """
    Return the columns of the largest scores of each row, best first, equal scores by column.

    Args:
        scores: Shape (n, m); minus infinity for what must not be listed.
        limit: Most columns of a row.

    Returns:
        int32, shape (n, limit); -1 beyond the last one.
    """
    found = np.full((len(scores), limit), -1, dtype=np.int32)
    step = scores.shape[1] // (_SAMPLED * limit)
    bound = np.full(len(scores), -np.inf, dtype=np.float32)
    if step > 1:
        sample = scores[:, ::step]
        rank = sample.shape[1] - (2 * limit // step + _SPARE)
        bound = np.partition(sample, rank, axis=1)[:, rank]
    short = _fill(found, scores, bound, np.arange(len(scores)))
    # Where the sample misled there are too few, and all of the row is looked at.
    if len(short):
        _fill(found, scores[short], np.full(len(short), -np.inf, dtype=np.float32), short)
    return found


def _fill(
    found: Lists, scores: NDArray[np.float32], bound: NDArray[np.float32], places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Write the best of what reaches the bound into *places* of *found*; return those that had too few."""
    limit = found.shape[1]
    rows, columns = np.nonzero((scores >= bound[:, None]) & (scores > -np.inf))
    counts = np.bincount(rows, minlength=len(scores))
    order = np.lexsort((columns, -scores[rows, columns], rows))
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    listed = rank < limit
    found[places[rows[listed]], rank[listed]] = columns[order][listed]
    return np.flatnonzero((counts < limit) & (bound > -np.inf))
