"""Interactions with an answer that is known, or with the shape of real ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from evaluation.metrics import SparseMatrix
from training.interactions import Interactions


def checkerboard(size: int) -> NDArray[np.float32]:
    """Users and items of two kinds: everybody likes their own kind."""
    rows = np.arange(size)
    board: NDArray[np.float32] = ((rows[:, None] + rows) % 2 == 0).astype(np.float32)
    return board


def interactions_of(matrix: NDArray[np.float32]) -> Interactions:
    """What *matrix* says, at times that mean nothing."""
    users, items = matrix.nonzero()
    return Interactions(
        user_ids=[f"u{row}" for row in range(matrix.shape[0])],
        item_ids=[f"i{row}" for row in range(matrix.shape[1])],
        users=users.astype(np.int32),
        items=items.astype(np.int32),
        confidence=matrix[users, items],
        last_at=np.random.default_rng(0).permutation(len(users)).astype(np.float64),
    )


def tastes(users: int, items: int, each: int, *, kinds: int = 8, seed: int = 0) -> SparseMatrix:
    """
    A CSR matrix (users, items) of ones: about *each* items a user, most of them of the user's own kind.

    Within a kind few items are popular and many are not; each has somebody.
    """
    generator = np.random.default_rng(seed)
    rows = np.repeat(np.arange(users), each)
    own = generator.random(len(rows)) < 0.8
    kind = np.where(own, rows % kinds, generator.integers(0, kinds, len(rows)))
    place = np.minimum(generator.pareto(0.7, len(rows)) * 2, items // kinds - 1).astype(np.int64)
    rows = np.concatenate([rows, np.arange(items) % users])
    columns = np.concatenate([place * kinds + kind, np.arange(items)])
    matrix = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(users, items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
