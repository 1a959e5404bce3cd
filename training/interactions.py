"""Who cared for what, as a matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from evaluation.recommendation import SparseMatrix

INTERACTION_COLUMNS = {
    "user_id": pa.string(),
    "product_id": pa.string(),
    "confidence": pa.float32(),
    "last_at": pa.float64(),
}
EVENT_COUNT_COLUMNS = {"user_id": pa.string(), "event_count": pa.int64()}


@dataclass(frozen=True)
class Interactions:
    """
    n interactions, one for each pair of user and product.

    Args:
        user_ids: Length u, sorted; *users* holds rows of it, int64, shape (n,).
        item_ids: Length i, sorted; *items* holds rows of it, int64, shape (n,).
        confidence: float32, shape (n,), above 0.
        last_at: float64, shape (n,), seconds since 1970.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: NDArray[np.int64]
    items: NDArray[np.int64]
    confidence: NDArray[np.float32]
    last_at: NDArray[np.float64]

    @classmethod
    def from_table(cls, table: pa.Table) -> Interactions:
        """Number the users and products of a table with `INTERACTION_COLUMNS`; the table's order does not matter."""
        user_ids, users = _numbered(table["user_id"])
        item_ids, items = _numbered(table["product_id"])
        order = np.lexsort((items, users))
        return cls(
            user_ids=user_ids,
            item_ids=item_ids,
            users=users[order],
            items=items[order],
            confidence=table["confidence"].to_numpy()[order].astype(np.float32),
            last_at=table["last_at"].to_numpy()[order].astype(np.float64),
        )

    def __len__(self) -> int:
        """The number of interactions."""
        return len(self.users)

    def matrix(self, chosen: NDArray[np.bool_] | None = None) -> SparseMatrix:
        """The confidences as a CSR matrix (users, items), of the *chosen* interactions or of all."""
        rows = slice(None) if chosen is None else chosen
        shape = (len(self.user_ids), len(self.item_ids))
        return sparse.csr_matrix((self.confidence[rows], (self.users[rows], self.items[rows])), shape=shape)


def event_counts_of(user_ids: list[str], table: pa.Table) -> NDArray[np.int64]:
    """The counts of *user_ids* in a table with `EVENT_COUNT_COLUMNS`, int64, in their order; 0 for one not there."""
    counts = dict(zip(table["user_id"].to_pylist(), table["event_count"].to_pylist(), strict=True))
    return np.array([counts.get(user, 0) for user in user_ids], dtype=np.int64)


def _numbered(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """The distinct values, sorted, and for each entry its place among them."""
    encoded = column.combine_chunks().dictionary_encode()
    ids: list[str] = encoded.dictionary.to_pylist()
    order = sorted(range(len(ids)), key=ids.__getitem__)
    places = np.empty(len(ids), dtype=np.int64)
    places[order] = np.arange(len(ids))
    return [ids[row] for row in order], places[encoded.indices.to_numpy()]
