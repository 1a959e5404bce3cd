"""Product vectors as they are now: the trained index, and beside it what changed since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from artifacts.embedding_index import EmbeddingIndex
from artifacts.nearest import Mask, Nearest, best, best_rows, is_exact, nearest_products
from retrieval.columns import AttributeColumns, Change, Slots

# How far a component may lie from the trained one for the text to count as unchanged: beyond what rounding does, and
# what an index that stores vectors coarsely does.
_ROUNDING, _COARSENESS = 1e-5, 0.02
_ROOM = 256

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class EmbeddingsView:
    """
    The vectors at one moment: what is applied later does not show.

    Attributes:
        trained: The trained index.
        replaced: Which of its rows no longer stand for their product, shape (rows,).
        any_replaced: Whether there are such rows.
        row_slots: The column slot of each row, -1 where the columns do not know its product; None without columns.
        live_ids: Products of the exact index beside it.
        live_vectors: float32, shape (m, d); ``live_vectors[i]`` belongs to ``live_ids[i]``.
        live_slots: Their column slots, shape (m,).
        live_used: Which of them stand for their product, shape (m,).
    """

    trained: EmbeddingIndex
    replaced: Mask
    any_replaced: bool
    row_slots: Slots | None
    live_ids: Sequence[str]
    live_vectors: Vectors
    live_slots: Slots
    live_used: Mask

    def nearest(self, vector: Vectors, limit: int, *, keep: Mask | None = None) -> Nearest:
        """
        Return the products nearest to *vector*, in the total order of ``nearest_products``.

        Args:
            vector: float32, shape (d,), unit length.
            limit: Most products, at least 1.
            keep: The column slots to look at, of the moment of this view; None: all, hidden products too.
        """
        rows = self._rows_kept(keep)
        found = nearest_products(self.trained.index, self.trained.product_ids, vector, limit=limit, keep=rows)
        used = np.flatnonzero(self.live_used if keep is None else self.live_used & _at(keep, self.live_slots))
        if len(used):
            near = best_rows(self.live_vectors[used], vector, limit=limit)
            found = best([*found, *((self.live_ids[used[place]], score) for place, score in near)], limit)
        return found

    def vectors(self, product_ids: Sequence[str]) -> Vectors:
        """Return the vectors of those *product_ids* that have one, float32, shape (k, d), in the order asked for."""
        return self._vectors(product_ids)[1]

    def cosines(self, product_ids: Sequence[str], vector: Vectors) -> dict[str, float]:
        """
        Return the score that ``nearest`` gives those *product_ids* that have a vector, however far they are.

        Args:
            product_ids: Each once.
            vector: float32, shape (d,), unit length.
        """
        places, vectors = self._vectors(product_ids)
        scored = best_rows(vectors, vector, limit=max(1, len(places)))
        return {product_ids[places[row]]: score for row, score in scored}

    @cached_property
    def _live_places(self) -> dict[str, int]:
        """The place of each product of the exact index."""
        return {self.live_ids[place]: place for place in np.flatnonzero(self.live_used).tolist()}

    def _vectors(self, product_ids: Sequence[str]) -> tuple[list[int], Vectors]:
        """Which of *product_ids* have a vector, by their place in the list, and the vectors."""
        live = np.array([self._live_places.get(product_id, -1) for product_id in product_ids], dtype=np.int64)
        rows = self.trained.product_ids.rows(product_ids).astype(np.int64)
        beside = np.flatnonzero(live >= 0)
        trained = np.flatnonzero((live < 0) & (rows >= 0))
        trained = trained[~self.replaced[rows[trained]]]
        vectors = np.empty((len(rows), self.trained.dim), dtype=np.float32)
        vectors[beside] = self.live_vectors[live[beside]]
        if len(trained):
            vectors[trained] = self.trained.index.reconstruct_batch(rows[trained])
        places = np.union1d(trained, beside)
        return places.tolist(), vectors[places]

    def _rows_kept(self, keep: Mask | None) -> Mask | None:
        if keep is None or self.row_slots is None:
            return ~self.replaced if self.any_replaced else None
        rows = _at(keep, self.row_slots)
        return rows & ~self.replaced if self.any_replaced else rows


class LiveEmbeddings:
    """
    A trained index kept up to date by the change feed.

    Where a product has a vector for the index's encoder that differs from the trained one, or none was trained, that
    vector is searched exhaustively beside the index. A deleted product is left out. A product without such a vector
    keeps the trained one: its new text is about to be embedded. So what is found depends on the index and on the
    catalogue alone, not on the way the changes came.

    Args:
        trained: The index.
        columns: Where slots come from; None where they could not be read.
    """

    def __init__(self, trained: EmbeddingIndex, columns: AttributeColumns | None) -> None:
        self._trained = trained
        self._columns = columns
        self._tolerance = _ROUNDING if is_exact(trained.index) else _COARSENESS
        self._row_slots = None if columns is None else columns.slots_of_all(trained.product_ids)
        self._replaced: Mask = np.zeros(len(trained.product_ids), dtype=np.bool_)
        self._ids: list[str] = []
        self._rows: dict[str, int] = {}
        self._vectors: Vectors = np.empty((_ROOM, trained.dim), dtype=np.float32)
        self._slots: Slots = np.full(_ROOM, -1, dtype=np.int32)
        self._used: Mask = np.zeros(_ROOM, dtype=np.bool_)

    @property
    def live(self) -> int:
        """How many vectors lie beside the trained ones."""
        return len(self._rows)

    @property
    def tombstones(self) -> int:
        """How many trained vectors no longer stand for their product."""
        return int(np.count_nonzero(self._replaced))

    @property
    def nbytes(self) -> int:
        """Bytes held beside the trained index."""
        row_slots = 0 if self._row_slots is None else self._row_slots.nbytes
        return row_slots + self._replaced.nbytes + self._vectors.nbytes + self._slots.nbytes + self._used.nbytes

    def apply(self, changes: Iterable[Change]) -> None:
        """Take over the products' vectors; the columns must have taken over the same changes before."""
        newest = {str(change["product_id"]): change for change in changes}
        if not newest:
            return
        # What a view holds stays as it is.
        self._replaced, self._used = self._replaced.copy(), self._used.copy()
        product_ids = list(newest)
        rows = self._trained.product_ids.rows(product_ids)
        slots = np.full(len(rows), -1, np.int32) if self._columns is None else self._columns.slots_of(product_ids)
        self._learn_slots(rows, slots)
        for product_id, row, slot in zip(product_ids, rows.tolist(), slots.tolist(), strict=True):
            self._apply_one(product_id, newest[product_id], row, slot)
        self._tidy()

    def view(self) -> EmbeddingsView:
        """Return the vectors as they are now."""
        size = len(self._ids)
        return EmbeddingsView(
            trained=self._trained,
            replaced=self._replaced,
            any_replaced=bool(self._replaced.any()),
            row_slots=self._row_slots,
            live_ids=self._ids,
            live_vectors=self._vectors[:size],
            live_slots=self._slots[:size],
            live_used=self._used[:size],
        )

    def _apply_one(self, product_id: str, change: Change, row: int, slot: int) -> None:
        vector = self._vector(change)
        differs = vector is not None and (row < 0 or not self._is_trained(row, vector))
        if row >= 0:
            self._replaced[row] = not change["stored"] or differs
        known = self._rows.pop(product_id, None)
        if known is not None:
            self._used[known] = False
        if vector is not None and differs:
            self._add(product_id, vector, slot)

    def _vector(self, change: Change) -> Vectors | None:
        content = change["embedding"] if change["stored"] else None
        if content is None or len(content) != self._trained.dim * 4:
            return None
        return np.frombuffer(content, dtype="<f4").astype(np.float32)

    def _is_trained(self, row: int, vector: Vectors) -> bool:
        trained = self._trained.index.reconstruct(row)
        return bool(np.abs(trained - vector).max() <= self._tolerance)

    def _add(self, product_id: str, vector: Vectors, slot: int) -> None:
        place = len(self._ids)
        if place == len(self._used):
            self._resize(2 * place)
        self._vectors[place], self._slots[place], self._used[place] = vector, slot, True
        self._rows[product_id] = place
        self._ids.append(product_id)

    def _learn_slots(self, rows: NDArray[np.int32], slots: Slots) -> None:
        """Note the slots of trained products that the columns meet only now."""
        if self._row_slots is None:
            return
        trained = rows >= 0
        if (self._row_slots[rows[trained]] != slots[trained]).any():
            self._row_slots = self._row_slots.copy()
            self._row_slots[rows[trained]] = slots[trained]

    def _tidy(self) -> None:
        """Drop what no longer stands for its product once it is the larger part."""
        if len(self._ids) < _ROOM or len(self._rows) * 2 > len(self._ids):
            return
        kept = sorted(self._rows.values())
        self._ids = [self._ids[place] for place in kept]
        self._rows = {product_id: place for place, product_id in enumerate(self._ids)}
        size = len(kept)
        vectors, slots = self._vectors[kept], self._slots[kept]
        self._vectors, self._slots, self._used = vectors, slots, np.ones(size, dtype=np.bool_)
        self._resize(max(_ROOM, 2 * size))

    def _resize(self, room: int) -> None:
        """Move to arrays with *room* for vectors; what a view holds stays as it is."""
        size = min(room, len(self._used))
        vectors = np.empty((room, self._trained.dim), dtype=np.float32)
        slots, used = np.full(room, -1, dtype=np.int32), np.zeros(room, dtype=np.bool_)
        vectors[:size], slots[:size], used[:size] = self._vectors[:size], self._slots[:size], self._used[:size]
        self._vectors, self._slots, self._used = vectors, slots, used


def _at(keep: Mask, slots: Slots) -> Mask:
    """*keep* at each slot; False at -1."""
    found: Mask = np.append(keep, False)[slots]
    return found
