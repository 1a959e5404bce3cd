from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.embedding_index import INDEX_FILE, PRODUCTS_FILE, EmbeddingIndex
from artifacts.encoder import OnnxEncoder
from artifacts.errors import ArtifactCorrupt
from artifacts.index_kind import search_parameters
from artifacts.manifest import FileRecord, Manifest
from artifacts.nearest import nearest_products
from tests.artifacts.test_nearest import made
from tests.artifacts.tiny_encoder import DIM, write_tiny_encoder
from tests.artifacts.vectors import flat, unit_rows

TITLES = {"p1": "red wine", "p2": "blue film", "p3": "film"}
MANIFEST = Manifest(kind="embeddings", dim=DIM, files={INDEX_FILE: FileRecord(sha256="0" * 64, bytes=0)})


def write_products(directory: Path, product_ids: list[str]) -> None:
    pq.write_table(pa.table({"product_id": product_ids}), directory / PRODUCTS_FILE)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """An ``embeddings`` version of three products."""
    write_tiny_encoder(tmp_path)
    vectors = OnnxEncoder(tmp_path).encode(list(TITLES.values()))
    faiss.write_index(flat(vectors), str(tmp_path / INDEX_FILE))
    write_products(tmp_path, list(TITLES))
    return tmp_path


class TestEmbeddingIndex:
    def test_a_products_own_title_finds_it(self, directory: Path) -> None:
        loaded = EmbeddingIndex.load(directory, MANIFEST)
        query = loaded.encoder.encode(["blue film"])[0]
        assert nearest_products(loaded.index, loaded.product_ids, query, limit=1)[0][0] == "p2"

    def test_vectors_come_in_the_order_asked_for_without_the_unknown(self, directory: Path) -> None:
        loaded = EmbeddingIndex.load(directory, MANIFEST)
        rows, vectors = loaded.vectors(["p3", "unknown", "p1"])
        assert [loaded.product_ids[row] for row in rows] == ["p3", "p1"]
        np.testing.assert_array_equal(vectors, loaded.encoder.encode(["film", "red wine"]))

    def test_no_known_product_gives_no_vectors(self, directory: Path) -> None:
        rows, vectors = EmbeddingIndex.load(directory, MANIFEST).vectors(["unknown"])
        assert (rows, vectors.shape) == ([], (0, DIM))

    def test_more_products_than_vectors_are_corrupt(self, directory: Path) -> None:
        write_products(directory, ["p1", "p2", "p3", "p4"])
        with pytest.raises(ArtifactCorrupt, match="3 vectors for 4 products"):
            EmbeddingIndex.load(directory, MANIFEST)

    def test_a_product_that_appears_twice_is_corrupt(self, directory: Path) -> None:
        write_products(directory, ["p1", "p2", "p1"])
        with pytest.raises(ArtifactCorrupt, match="twice"):
            EmbeddingIndex.load(directory, MANIFEST)

    def test_an_index_of_another_encoder_is_corrupt(self, directory: Path) -> None:
        faiss.write_index(flat(unit_rows(0, 3, 8)), str(directory / INDEX_FILE))
        with pytest.raises(ArtifactCorrupt, match="index has dimension 8, encoder 4"):
            EmbeddingIndex.load(directory, MANIFEST)

    @pytest.mark.parametrize("name", [INDEX_FILE, PRODUCTS_FILE])
    def test_a_file_that_cannot_be_read_is_corrupt(self, directory: Path, name: str) -> None:
        (directory / name).write_bytes(b"nothing")
        with pytest.raises(ArtifactCorrupt, match="cannot be loaded"):
            EmbeddingIndex.load(directory, MANIFEST)


class TestKinds:
    """An index that was trained looks as far as its manifest says."""

    IDS = tuple(f"p{row:04}" for row in range(400))

    def load(self, directory: Path, kind: str, said: dict[str, object] | None) -> EmbeddingIndex:
        faiss.write_index(made(kind, unit_rows(0, len(self.IDS), DIM)), str(directory / INDEX_FILE))
        write_products(directory, list(self.IDS))
        parameters = {} if said is None else {"index": said}
        return EmbeddingIndex.load(directory, MANIFEST.model_copy(update={"parameters": parameters}))

    def test_it_is_searched_as_the_manifest_says(self, directory: Path) -> None:
        loaded = self.load(directory, "IVF8,SQ8", {"type": "IVF8,SQ8", "search": {"nprobe": 3}})
        assert search_parameters(loaded.index) == {"nprobe": 3}

    def test_it_gives_its_vectors_back(self, directory: Path) -> None:
        loaded = self.load(directory, "IVF8,SQ8", {"type": "IVF8,SQ8", "search": {"nprobe": 3}})
        rows, vectors = loaded.vectors(["p0399", "p0000"])
        assert rows == [399, 0]
        np.testing.assert_allclose(vectors, unit_rows(0, 400, DIM)[[399, 0]], atol=0.02)

    @pytest.mark.parametrize("said", [None, {"type": "Flat", "vectors": "encoder.onnx"}])
    def test_versions_that_say_less_load_still(self, directory: Path, said: dict[str, object] | None) -> None:
        assert len(self.load(directory, "Flat", said).product_ids) == len(self.IDS)

    @pytest.mark.parametrize(
        ("said", "problem"),
        [
            ({"type": "Flat", "search": {}}, "of kind IVF8,SQ8 where the manifest says Flat"),
            ({"type": "IVF8,SQ8", "search": {"nprobe": 9}}, "8 lists"),
            ({"type": "IVF8,SQ8", "search": {"efSearch": 9}}, "searched with nprobe"),
        ],
    )
    def test_another_kind_than_the_manifest_says_is_corrupt(
        self, directory: Path, said: dict[str, object], problem: str
    ) -> None:
        with pytest.raises(ArtifactCorrupt, match=problem):
            self.load(directory, "IVF8,SQ8", said)
