"""Ids as 64-bit hashes: to compare and count millions of them in a few bytes each."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

_BUCKET_BITS = 6
_PENDING = 1 << 20

Hashes = NDArray[np.uint64]


def hashed(texts: pa.Array) -> Hashes:
    """The hash of each text, the same in every process; uint64, shape (n,). No text may be null."""
    encoded = texts.dictionary_encode()
    words = encoded.dictionary.to_numpy(zero_copy_only=False)
    own: Hashes = pd.util.hash_array(words.astype(object), categorize=False)
    found: Hashes = own[encoded.indices.to_numpy()]
    return found


class IdentitySet:
    """The different ids of a stream: 8 bytes for each, and as much again while some are added."""

    def __init__(self) -> None:
        self._known: Hashes = np.zeros(0, np.uint64)
        self._pending: list[Hashes] = []
        self._count = 0

    def add(self, hashes: Hashes) -> None:
        """Take more of them."""
        fresh = np.unique(hashes)
        self._pending.append(fresh)
        self._count += len(fresh)
        if self._count >= _PENDING:
            self.sorted()

    def sorted(self) -> Hashes:
        """All of them, each once, ascending."""
        if self._pending:
            self._known = np.unique(np.concatenate([self._known, *self._pending]))
            self._pending, self._count = [], 0
        return self._known


class Repetitions:
    """
    How many entries of a stream repeat an earlier one.

    Hashes wait in files, by their first bits, so that memory holds a 64th of them at once.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._paths = [directory / f"{number:02}" for number in range(1 << _BUCKET_BITS)]

    def add(self, hashes: Hashes) -> None:
        """Take more of them."""
        ordered = np.sort(hashes)
        ends = np.searchsorted(ordered >> np.uint64(64 - _BUCKET_BITS), np.arange(len(self._paths)), side="right")
        start = 0
        for path, end in zip(self._paths, ends.tolist(), strict=True):
            if end > start:
                with path.open("ab") as file:
                    ordered[start:end].tofile(file)
            start = end

    def count(self) -> int:
        """Entries beyond the first of each kind."""
        found = 0
        for path in self._paths:
            if path.exists():
                bucket = np.fromfile(path, np.uint64)
                found += len(bucket) - len(np.unique(bucket))
        return found


def is_among(hashes: Hashes, known: Hashes) -> NDArray[np.bool_]:
    """Which of *hashes* are in *known*, which is ascending; bool, shape (n,)."""
    if not len(known):
        return np.zeros(len(hashes), np.bool_)
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    found: NDArray[np.bool_] = known[places] == hashes
    return found


def saved(**sets: Hashes) -> bytes:
    """Sets of ids by name, as one file."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **sets)
    return content.getvalue()


def loaded(content: bytes) -> dict[str, Hashes]:
    """
    What `saved` wrote.

    Raises:
        ValueError: it is something else.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as sets:
        return {name: sets[name] for name in sets.files}
