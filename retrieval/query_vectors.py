"""The vectors of recent queries: encoding one costs more than looking for what is near it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from artifacts.encoder import OnnxEncoder

SIZE = 1000


class QueryVectors:
    """Encodes queries with one encoder, and keeps the last thousand (1.5 MB). Safe to use from several threads."""

    def __init__(self, encoder: OnnxEncoder) -> None:
        self.encoder = encoder
        self._encoded = lru_cache(SIZE)(self._encode)

    def of(self, query: str) -> npt.NDArray[np.float32]:
        """Return the unit vector of *query*, float32, shape (dim,); not to be written to."""
        return self._encoded(query)

    def _encode(self, query: str) -> npt.NDArray[np.float32]:
        vector: npt.NDArray[np.float32] = self.encoder.encode([query])[0]
        vector.setflags(write=False)
        return vector
