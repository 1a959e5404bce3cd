"""Rows by id and ids by row, for a million of them in some 30 MB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_CHUNK = 65_536

Rows = NDArray[np.int32]


class IdMap(Sequence[str]):
    """
    An immutable list of n ids that also knows the row of each.

    The ids lie end to end in one Arrow array, and beside it their hashes in order with their rows: 12 bytes an id and
    its text, where a list of strings and a dictionary take more than a hundred.

    Args:
        ids: Each once; or an Arrow string array.
    """

    def __init__(self, ids: Iterable[str] | pa.Array | pa.ChunkedArray = ()) -> None:
        if isinstance(ids, pa.ChunkedArray):
            ids = ids.combine_chunks()
        self._ids: pa.StringArray = ids.cast(pa.string()) if isinstance(ids, pa.Array) else pa.array(ids, pa.string())
        hashes = np.empty(len(self._ids), dtype=np.int64)
        for start in range(0, len(hashes), _CHUNK):
            chunk = self._ids[start : start + _CHUNK].to_pylist()
            hashes[start : start + len(chunk)] = np.fromiter(map(hash, chunk), np.int64, len(chunk))
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._order = hashes[order], order.astype(np.int32)
        self._give_back()

    def __len__(self) -> int:
        """The number of ids."""
        return len(self._ids)

    def __getitem__(self, row):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN204  a row or a slice of rows
        """The id at *row*."""
        return self._ids[row].to_pylist() if isinstance(row, slice) else self._ids[int(row)].as_py()

    def __iter__(self) -> Iterator[str]:
        """The ids, by row."""
        for start in range(0, len(self._ids), _CHUNK):
            yield from self._ids[start : start + _CHUNK].to_pylist()

    def row(self, product_id: str) -> int:
        """The row of an id, -1 for an unknown one."""
        return int(self.rows([product_id])[0])

    def rows(self, product_ids: Sequence[str]) -> Rows:
        """The rows of ids, int32, of their length; -1 for unknown ones."""
        wanted = np.fromiter(map(hash, product_ids), np.int64, len(product_ids))
        places = np.searchsorted(self._hashes, wanted).tolist()
        found = [
            self._row_from(place, number, product_id)
            for place, number, product_id in zip(places, wanted.tolist(), product_ids, strict=True)
        ]
        return np.array(found, dtype=np.int32)

    def rows_in(self, other: IdMap) -> Rows:
        """For each of these ids its row in *other*, int32, of their number; -1 where it is not there."""
        found = pc.fill_null(pc.index_in(self._ids, value_set=other._ids), -1)
        rows = np.array(found.to_numpy(zero_copy_only=False), dtype=np.int32)
        del found
        self._give_back()
        return rows

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return int(self._ids.nbytes + self._hashes.nbytes + self._order.nbytes)

    @property
    def repeats(self) -> bool:
        """Whether an id is there more than once."""
        equal = np.flatnonzero(self._hashes[1:] == self._hashes[:-1])
        return any(self[self._order[place]] == self[self._order[place + 1]] for place in equal.tolist())

    def _give_back(self) -> None:
        """Hand what Arrow allocated on the way back to the system: with a million ids, twice what is held."""
        if len(self._ids) > _CHUNK:
            pa.default_memory_pool().release_unused()

    def _row_from(self, place: int, number: int, product_id: str) -> int:
        while place < len(self._hashes) and self._hashes[place] == number:
            row = int(self._order[place])
            if self._ids[row].as_py() == product_id:
                return row
            place += 1
        return -1
