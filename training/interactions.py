"""Who cared for what, as a matrix."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from evaluation.metrics import SparseMatrix

INTERACTION_COLUMNS = {
    "user_id": pa.string(),
    "product_id": pa.string(),
    "confidence": pa.float32(),
    "last_at": pa.float64(),
}
EVENT_COUNT_COLUMNS = {"user_id": pa.string(), "event_count": pa.int64()}
HOLDOUT_COLUMN = "holdout"


@dataclass(frozen=True)
class Interactions:
    """
    n interactions, one for each pair of user and product, by user, then product.

    Args:
        user_ids: Length u, sorted; *users* holds rows of it, int32, shape (n,).
        item_ids: Length i, sorted; *items* holds rows of it, int32, shape (n,).
        confidence: float32, shape (n,), above 0.
        last_at: float64, shape (n,), seconds since 1970.
        withheld: Which interactions a hold-out that came with the data names, shape (n,); None where none came.
    """

    user_ids: list[str]
    item_ids: list[str]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    confidence: NDArray[np.float32]
    last_at: NDArray[np.float64]
    withheld: NDArray[np.bool_] | None = None

    @classmethod
    def from_table(cls, table: pa.Table) -> Interactions:
        """Number the users and products of a table with `INTERACTION_COLUMNS`; the table's order does not matter."""
        return cls.from_batches(table.to_batches())

    @classmethod
    def from_batches(cls, batches: Iterable[pa.RecordBatch]) -> Interactions:
        """
        Number the users and products of batches with `INTERACTION_COLUMNS`; the order of rows does not matter.

        Some 60 bytes an interaction are held meanwhile, and each id once. Of a pair that comes several times the
        confidences add up and the latest time counts; it is withheld when one of them is.

        Args:
            batches: They may have `HOLDOUT_COLUMN` too.
        """
        users, items = Numbering(), Numbering()
        parts: list[list[Any]] = [[], [], [], [], []]
        for batch in batches:
            if not batch.num_rows:
                continue
            columns = [
                users.numbered(batch["user_id"]),
                items.numbered(batch["product_id"]),
                batch["confidence"].to_numpy(zero_copy_only=False).astype(np.float32),
                batch["last_at"].to_numpy(zero_copy_only=False).astype(np.float64),
            ]
            if HOLDOUT_COLUMN in batch.schema.names:
                columns.append(batch[HOLDOUT_COLUMN].to_numpy(zero_copy_only=False).astype(np.bool_))
            for column, part in zip(parts, columns, strict=False):
                column.append(part)
        if not parts[0]:
            nobody = np.zeros(0, np.int32)
            return cls([], [], nobody, nobody, np.zeros(0, np.float32), np.zeros(0))
        user_ids, user_rows = users.in_order()
        item_ids, item_rows = items.in_order()
        rows = [user_rows[np.concatenate(parts[0])], item_rows[np.concatenate(parts[1])]]
        rest = [np.concatenate(column) for column in parts[2:] if column]
        return cls(user_ids, item_ids, *_one_a_pair([*rows, *rest]))

    def __len__(self) -> int:
        """The number of interactions."""
        return len(self.users)

    def matrix(self, chosen: NDArray[np.bool_] | None = None) -> SparseMatrix:
        """The confidences as a CSR matrix (users, items), of the *chosen* interactions or of all."""
        rows = slice(None) if chosen is None else chosen
        counts = np.bincount(self.users[rows], minlength=len(self.user_ids))
        starts = np.concatenate([[0], np.cumsum(counts)])
        starts = starts.astype(np.int32) if starts[-1] <= np.iinfo(np.int32).max else starts
        shape = (len(self.user_ids), len(self.item_ids))
        return sparse.csr_matrix((self.confidence[rows], self.items[rows], starts), shape=shape)

    def digest(self) -> str:
        """The sha256 of all there is: the same for the same interactions, wherever they were read."""
        found = hashlib.sha256()
        for ids in (self.user_ids, self.item_ids):
            found.update("\0".join([str(len(ids)), *ids]).encode())
        columns = [self.users, self.items, self.confidence, self.last_at]
        for column in columns if self.withheld is None else [*columns, self.withheld]:
            found.update(np.ascontiguousarray(column).data)
        return found.hexdigest()


def event_counts_of(user_ids: list[str], table: pa.Table) -> NDArray[np.int64]:
    """The counts of *user_ids* in a table with `EVENT_COUNT_COLUMNS`, int64, in their order; 0 for one not there."""
    counts = dict(zip(table["user_id"].to_pylist(), table["event_count"].to_pylist(), strict=True))
    return np.array([counts.get(user, 0) for user in user_ids], dtype=np.int64)


class Numbering:
    """Numbers for ids in the order in which they first come."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def numbered(self, column: pa.Array) -> NDArray[np.int32]:
        """The number of each entry."""
        encoded = column.dictionary_encode()
        ids: list[str] = encoded.dictionary.to_pylist()
        own = np.array([self._numbers.setdefault(each, len(self._numbers)) for each in ids], dtype=np.int32)
        numbers: NDArray[np.int32] = own[encoded.indices.to_numpy()]
        return numbers

    def in_order(self) -> tuple[list[str], NDArray[np.int32]]:
        """The ids, sorted, and for each number its place among them."""
        ids = sorted(self._numbers)
        places = np.empty(len(ids), dtype=np.int32)
        places[[self._numbers[each] for each in ids]] = np.arange(len(ids), dtype=np.int32)
        return ids, places


def _one_a_pair(columns: list[Any]) -> list[Any]:
    """The columns of `Interactions` by user, then item, each pair once; the last one may be missing."""
    order = np.lexsort((columns[1], columns[0]))
    ordered = [column[order] for column in columns]
    users, items = ordered[:2]
    first = np.ones(len(users), dtype=np.bool_)
    first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
    if first.all():
        return ordered
    starts = np.flatnonzero(first)
    together = (np.add, np.maximum, np.logical_or)
    rest = [merge.reduceat(column, starts) for merge, column in zip(together, ordered[2:], strict=False)]
    return [users[starts], items[starts], *rest]
