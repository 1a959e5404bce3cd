from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artifacts.encoder import OnnxEncoder
from retrieval.query_vectors import SIZE, QueryVectors
from tests.artifacts.tiny_encoder import write_tiny_encoder


@pytest.fixture
def encoder(tmp_path: Path) -> OnnxEncoder:
    write_tiny_encoder(tmp_path)
    return OnnxEncoder(tmp_path)


class TestQueryVectors:
    def test_a_kept_vector_is_the_encoders_own(self, encoder: OnnxEncoder) -> None:
        vectors = QueryVectors(encoder)
        for _ in range(2):
            assert np.array_equal(vectors.of("red wine"), encoder.encode(["red wine"])[0])

    def test_nobody_can_change_what_is_kept(self, encoder: OnnxEncoder) -> None:
        with pytest.raises(ValueError, match="read-only"):
            QueryVectors(encoder).of("red wine")[0] = 1

    def test_no_more_than_so_many_are_kept(self, encoder: OnnxEncoder) -> None:
        vectors = QueryVectors(encoder)
        first = vectors.of("query 0")
        assert vectors.of("query 0") is first
        for number in range(1, SIZE + 1):
            vectors.of(f"query {number}")
        assert vectors.of("query 0") is not first
