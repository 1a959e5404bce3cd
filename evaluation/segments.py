"""Parts of users and products for which a mean over all says little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import SparseMatrix

FEW = 5
"""With at most so many known interactions a user or a product is new."""

HEAD_SHARE = 0.5
"""The head is the most popular products that have this share of the interactions."""


@dataclass(frozen=True)
class Segment:
    """
    Some users and some items; only what lies in both counts.

    Args:
        users: Shape (users,).
        items: Shape (items,).
    """

    name: str
    users: NDArray[np.bool_]
    items: NDArray[np.bool_]


def segments(known: SparseMatrix) -> list[Segment]:
    """
    Return new users, new products, head and tail.

    Args:
        known: CSR matrix (users, items): what was learned from.
    """
    by_user = np.diff(known.indptr)
    by_item = np.bincount(known.indices, minlength=known.shape[1])
    all_users, all_items = np.ones(len(by_user), np.bool_), np.ones(len(by_item), np.bool_)
    order = np.argsort(-by_item, kind="stable")
    before = np.cumsum(by_item[order]) - by_item[order]
    head = np.zeros(len(by_item), np.bool_)
    head[order] = before < HEAD_SHARE * by_item.sum()
    return [
        Segment("new users", by_user <= FEW, all_items),
        Segment("new products", all_users, by_item <= FEW),
        Segment("head", all_users, head),
        Segment("tail", all_users, ~head),
    ]
