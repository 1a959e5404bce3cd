"""How well scores over all items find what users did next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import ndcg, recall

NDCG_AT = 10
RECALL_AT = 20
_BATCH = 256

SparseMatrix = Any
"""scipy has no types."""

Scorer = Callable[[NDArray[np.int64]], NDArray[np.floating[Any]]]
"""User rows, shape (n,), to scores over all items, shape (n, items)."""


def recommendation_metrics(
    scores_of: Scorer,
    known: SparseMatrix,
    withheld: SparseMatrix,
    users: NDArray[np.int64],
) -> dict[str, float]:
    """
    Return mean ``ndcg_at_10`` and ``recall_at_20`` of *scores_of* over *users*.

    Args:
        scores_of: Scores every item for a batch of users; what they already know is left out of their lists here.
        known: CSR matrix (users, items): what was trained on.
        withheld: CSR matrix of the same shape: what should be found; non-empty for each of *users*.
        users: Rows to evaluate.
    """
    gains, recalls = [], []
    for start in range(0, len(users), _BATCH):
        batch = users[start : start + _BATCH]
        scores = np.array(scores_of(batch), dtype=np.float64)
        scores[known[batch].nonzero()] = -np.inf
        items = np.argsort(-scores, axis=1, kind="stable")[:, : max(NDCG_AT, RECALL_AT)]
        wanted = withheld[batch].toarray() > 0
        hits = np.take_along_axis(wanted, items, axis=1) & np.isfinite(np.take_along_axis(scores, items, axis=1))
        relevant = wanted.sum(axis=1)
        gains.append(ndcg(_padded(hits), relevant, at=NDCG_AT))
        recalls.append(recall(_padded(hits), relevant, at=RECALL_AT))
    return {
        f"ndcg_at_{NDCG_AT}": round(float(np.concatenate(gains).mean()), 4),
        f"recall_at_{RECALL_AT}": round(float(np.concatenate(recalls).mean()), 4),
    }


def _padded(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A small catalogue gives short lists; ranks beyond them hold no hit."""
    return np.pad(hits, ((0, 0), (0, max(0, max(NDCG_AT, RECALL_AT) - hits.shape[1]))))
