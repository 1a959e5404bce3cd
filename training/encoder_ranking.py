"""How well an encoder finds what held-out queries ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CUTOFF = 10
_QUERIES_AT_ONCE = 256

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class JudgedKind:
    """
    Queries of one kind.

    Attributes:
        queries: Length q.
        documents: Length n, all different.
        right: Length q: the rows of *documents* that answer each query, at least one.
    """

    queries: list[str]
    documents: list[str]
    right: list[list[int]]


@dataclass(frozen=True)
class JudgedQueries:
    """The queries by kind, each kind with documents of its own."""

    kinds: Mapping[str, JudgedKind]

    def __len__(self) -> int:
        return sum(len(kind.queries) for kind in self.kinds.values())

    @property
    def document_count(self) -> int:
        """Of all kinds."""
        return sum(len(kind.documents) for kind in self.kinds.values())

    def texts(self) -> list[str]:
        """All texts to encode: of each kind the queries, then the documents."""
        return [text for kind in self.kinds.values() for text in (*kind.queries, *kind.documents)]

    def ndcg(self, vectors: Vectors) -> dict[str, NDArray[np.float64]]:
        """
        Return NDCG@10 of each query, by kind.

        Args:
            vectors: float32, shape (texts, dim), L2-normalised: those of `texts`.
        """
        found, first = {}, 0
        for name, kind in self.kinds.items():
            middle, end = first + len(kind.queries), first + len(kind.queries) + len(kind.documents)
            found[name] = ndcg_of_rows(vectors[first:middle], vectors[middle:end], kind.right)
            first = end
        return found

    def digest(self) -> str:
        """Says whether the same is asked."""
        found = hashlib.sha256()
        for name, kind in self.kinds.items():
            for part in (name, *kind.queries, *kind.documents, str(kind.right)):
                found.update(f"{part}\0".encode())
        return found.hexdigest()


def ndcg_of_rows(queries: Vectors, documents: Vectors, right: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """
    Return NDCG@10 of each query over all documents by cosine, float64, shape (q,); equal cosines by row.

    Args:
        queries: float32, shape (q, dim), L2-normalised.
        documents: float32, shape (n, dim), L2-normalised.
        right: Length q: the rows that count 1, at least one; all others count 0.
    """
    discounts = 1 / np.log2(np.arange(2, CUTOFF + 2))
    ideal = np.cumsum(discounts)
    found = np.empty(len(queries))
    for first in range(0, len(queries), _QUERIES_AT_ONCE):
        scores = queries[first : first + _QUERIES_AT_ONCE] @ documents.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :CUTOFF]
        for row, nearest in enumerate(best, start=first):
            hits = np.isin(nearest, right[row])
            found[row] = discounts[: len(nearest)][hits].sum() / ideal[min(len(right[row]), CUTOFF) - 1]
    return found


def mean_of(by_kind: Mapping[str, NDArray[np.float64]]) -> float:
    """The mean over the queries of all kinds, each counting the same."""
    return float(np.concatenate(list(by_kind.values())).mean())
