"""A matrix cut into blocks of rows, one a worker."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from evaluation.metrics import SparseMatrix

CsrArrays = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
"""indptr, indices, data."""


def row_bounds(matrix: SparseMatrix, blocks: int) -> list[int]:
    """
    Return where *blocks* blocks of rows begin, and the end: *blocks* + 1 rows.

    A block has about the same work as another: a row costs as much as some of its entries, because the part of its
    equation that all rows share is solved for it too.
    """
    work = np.concatenate([[0], np.cumsum(np.diff(matrix.indptr).astype(np.int64) + _row_work(matrix))])
    bounds = np.searchsorted(work, np.linspace(0, work[-1], blocks + 1)[1:-1])
    return [0, *np.maximum.accumulate(bounds).tolist(), matrix.shape[0]]


def row_blocks(matrix: SparseMatrix, bounds: list[int]) -> Iterator[CsrArrays]:
    """The arrays of each block of rows of a CSR matrix; views wherever that is possible."""
    for start, stop in pairwise(bounds):
        first, last = matrix.indptr[start], matrix.indptr[stop]
        yield matrix.indptr[start : stop + 1] - first, matrix.indices[first:last], matrix.data[first:last]


def block_matrix(arrays: CsrArrays, columns: int) -> SparseMatrix:
    """A CSR matrix of a block's arrays, copied: what the object store holds cannot be written to."""
    indptr, indices, values = (np.array(each) for each in arrays)
    return sparse.csr_matrix((values, indices, indptr), shape=(len(indptr) - 1, columns), copy=False)


def _row_work(matrix: SparseMatrix) -> int:
    """What a row costs beside its entries, in entries."""
    return int(max(1, matrix.nnz // max(1, matrix.shape[0]) // 2))
