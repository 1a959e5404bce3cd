from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artifacts.encoder import ENCODER_FILE, TOKENIZER_FILE, OnnxEncoder
from artifacts.errors import ArtifactCorrupt
from tests.artifacts.tiny_encoder import DIM, write_tiny_encoder


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_tiny_encoder(tmp_path)
    return tmp_path


class TestOnnxEncoder:
    def test_rows_are_of_unit_length(self, directory: Path) -> None:
        vectors = OnnxEncoder(directory).encode(["red wine", "film"])
        assert (vectors.shape, vectors.dtype.name) == ((2, DIM), "float32")
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)

    def test_no_texts_give_no_rows(self, directory: Path) -> None:
        assert OnnxEncoder(directory).encode([]).shape == (0, DIM)

    def test_a_text_has_the_same_vector_in_any_company_and_with_any_threads(self, directory: Path) -> None:
        texts = ["red", "blue wine film", "film red blue wine red", "wine"]
        alone = [OnnxEncoder(directory).encode([text])[0].tobytes() for text in texts]
        together = [row.tobytes() for row in OnnxEncoder(directory, threads=3).encode(texts)]
        assert together == alone

    def test_a_long_text_is_cut(self, directory: Path) -> None:
        encoder = OnnxEncoder(directory)
        cut, whole = encoder.encode(["red " * 8 + "film " * 8, "red " * 8])
        assert cut.tobytes() == whole.tobytes()

    @pytest.mark.parametrize("name", [ENCODER_FILE, TOKENIZER_FILE])
    def test_a_file_that_cannot_be_read_is_corrupt(self, directory: Path, name: str) -> None:
        (directory / name).write_bytes(b"nothing")
        with pytest.raises(ArtifactCorrupt, match="cannot be loaded"):
            OnnxEncoder(directory)

    def test_a_missing_graph_is_corrupt(self, directory: Path) -> None:
        (directory / ENCODER_FILE).unlink()
        with pytest.raises(ArtifactCorrupt):
            OnnxEncoder(directory)
