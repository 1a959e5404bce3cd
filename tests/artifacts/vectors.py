"""Random vectors and indexes over them."""

from __future__ import annotations

import faiss
import numpy as np
from numpy.typing import NDArray


def unit_rows(seed: int, rows: int, dim: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    faiss.normalize_L2(vectors)
    return vectors


def flat(vectors: NDArray[np.float32]) -> faiss.Index:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index
