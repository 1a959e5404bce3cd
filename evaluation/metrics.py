"""Ranking metrics of many lists at once, by ir-measures; binary relevance."""

from __future__ import annotations

from typing import Any

import ir_measures
import numpy as np
from ir_measures import AP, RR, R, nDCG
from numpy.typing import NDArray

LISTED = 20
"""How long a list is; nothing beyond counts."""

MEASURES: dict[str, Any] = {
    "ndcg_at_10": nDCG @ 10,
    "ndcg_at_20": nDCG @ LISTED,
    "recall_at_20": R @ LISTED,
    # Lists end at LISTED, so this is the reciprocal rank there; with a cut-off ir-measures goes another, slower way.
    "mrr_at_20": RR,
    "map_at_20": AP @ LISTED,
}

_CHUNK = 4096

FloatVector = NDArray[np.float64]
Lists = NDArray[np.int32]
"""Item rows, shape (n, k), best first; -1 where a list is shorter."""

SparseMatrix = Any
"""scipy has no types."""


def ranking_metrics(lists: Lists, wanted: SparseMatrix) -> dict[str, FloatVector]:
    """
    Return each of `MEASURES` for each list, float64 of shape (n,), in [0, 1].

    Args:
        lists: Shape (n, at most `LISTED`), no item twice in a list.
        wanted: CSR matrix (n, items): a stored entry says that the item is relevant for the list of that row. A list
            for which nothing is relevant scores 0.

    Source:
        Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002, as computed by trec_eval: gains
        discounted by log2(rank + 1), over the best that the number of relevant items allows.
    """
    names = {measure: name for name, measure in MEASURES.items()}
    values = {name: np.zeros(len(lists)) for name in MEASURES}
    for first in range(0, len(lists), _CHUNK):
        chunk = lists[first : first + _CHUNK]
        evaluator = ir_measures.evaluator(list(names), _relevant(wanted, first, len(chunk)))
        for found in evaluator.iter_calc(_ranked(chunk, first)):
            values[names[found.measure]][int(found.query_id)] = found.value
    return values


def _relevant(wanted: SparseMatrix, first: int, count: int) -> dict[str, dict[str, int]]:
    """The relevant items of *count* lists from *first* on, as trec_eval takes them."""
    starts = wanted.indptr[first : first + count + 1].tolist()
    items = [str(item) for item in wanted.indices[starts[0] : starts[-1]].tolist()]
    return {
        str(first + row): dict.fromkeys(items[starts[row] - starts[0] : starts[row + 1] - starts[0]], 1)
        for row in range(count)
    }


def _ranked(lists: Lists, first: int) -> dict[str, dict[str, float]]:
    """Lists from *first* on as scores that fall with the rank."""
    scores = [float(score) for score in range(lists.shape[1], 0, -1)]
    return {
        str(first + row): {str(item): score for item, score in zip(items, scores, strict=True) if item >= 0}
        for row, items in enumerate(lists.tolist())
    }
