"""An index built from vectors that need not fit into memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from artifacts.nearest import allow_reconstruction
from training.errors import UnknownIndex
from training.index_choice import IndexPlan

CHUNK = 20_000
SEED = 7
REFINED = 8
"""How many candidates an index that looks twice looks at again, for each one wanted."""

Vectors = NDArray[np.float32]


def build_index(
    plan: IndexPlan, vectors: Vectors, *, threads: int, said: Callable[[str], None] = lambda _: None
) -> Any:  # noqa: ANN401
    """
    Return an inner-product index of the planned kind over *vectors*; the same vectors give the same index.

    Args:
        plan: Which kind.
        vectors: float32, shape (n, dim), unit length; best mapped from a file: they are read by chunks.
        threads: How many the training and the adding take.
        said: Told of every step.

    Raises:
        UnknownIndex: FAISS cannot make such an index, or not one that gives its vectors back.
    """
    faiss.omp_set_num_threads(threads)
    try:
        index = faiss.index_factory(vectors.shape[1], plan.kind, faiss.METRIC_INNER_PRODUCT)
        if isinstance(index, faiss.IndexRefine):
            index.k_factor = REFINED
        if not index.is_trained:
            said(f"training {plan.kind} on {plan.trained_on:,} vectors")
            index.train(_sample(vectors, plan.trained_on))
        for first in range(0, len(vectors), CHUNK):
            index.add(np.ascontiguousarray(vectors[first : first + CHUNK]))
            if first // CHUNK % 10 == 0:
                said(f"{index.ntotal:,} of {len(vectors):,} vectors are in the index")
        allow_reconstruction(index)
        index.reconstruct_batch(np.zeros(1, dtype=np.int64))
    except RuntimeError as error:
        raise UnknownIndex(
            f"{plan.kind} over {len(vectors):,} vectors: {error}. Name another kind of index."
        ) from error
    return index


def _sample(vectors: Vectors, count: int) -> Vectors:
    rows = np.sort(np.random.default_rng(SEED).choice(len(vectors), count, replace=False))
    return np.ascontiguousarray(vectors[rows])
