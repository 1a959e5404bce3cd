from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from artifacts.embedding_index import INDEX_FILE, PRODUCTS_FILE, EmbeddingIndex, nearest_products
from artifacts.encoder import OnnxEncoder
from artifacts.errors import ArtifactCorrupt, EmbeddingMismatch
from artifacts.manifest import FileRecord, Manifest
from tests.artifacts.tiny_encoder import DIM, write_tiny_encoder

TITLES = {"p1": "red wine", "p2": "blue film", "p3": "film"}
MANIFEST = Manifest(kind="embeddings", dim=DIM, files={INDEX_FILE: FileRecord(sha256="0" * 64, bytes=0)})


def unit_rows(seed: int, rows: int, dim: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)
    faiss.normalize_L2(vectors)
    return vectors


def flat(vectors: NDArray[np.float32]) -> faiss.Index:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


class TestNearestProducts:
    def test_asking_past_the_catalogue_returns_every_product_once(self) -> None:
        """FAISS pads short results with row -1; those never become candidates."""
        vectors = unit_rows(0, 3, 8)
        found = nearest_products(flat(vectors), ["a", "b", "c"], vectors[0], limit=50)
        assert sorted(product for product, _ in found) == ["a", "b", "c"]

    def test_rows_that_an_inverted_index_does_not_find_never_become_candidates(self) -> None:
        vectors = unit_rows(0, 40, 8)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(8), 8, 20, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        found = nearest_products(index, [f"p{row}" for row in range(40)], vectors[0], limit=30)
        assert 0 < len(found) < 30
        assert found[0][0] == "p0"

    def test_an_empty_index_has_no_products(self) -> None:
        assert nearest_products(faiss.IndexFlatIP(4), [], unit_rows(0, 1, 4)[0], limit=5) == []

    def test_the_product_itself_is_nearest_with_score_one(self) -> None:
        vectors = unit_rows(0, 20, 8)
        assert nearest_products(flat(vectors), [f"p{n}" for n in range(20)], vectors[7], limit=1) == [("p7", 1.0)]

    def test_equal_scores_are_ordered_by_product_id_even_where_the_limit_cuts(self) -> None:
        vectors = np.repeat(unit_rows(0, 1, 8), 100, axis=0)
        product_ids = [f"p{99 - row:02d}" for row in range(100)]
        found = nearest_products(flat(vectors), product_ids, vectors[0], limit=3)
        assert found == [("p00", 1.0), ("p01", 1.0), ("p02", 1.0)]

    @pytest.mark.parametrize(
        "embedding", [np.zeros(7, np.float32), np.zeros(8, np.float64), np.zeros((1, 8), np.float32)]
    )
    def test_a_vector_of_another_shape_or_dtype_is_refused(self, embedding: NDArray[np.float32]) -> None:
        with pytest.raises(EmbeddingMismatch):
            nearest_products(flat(unit_rows(0, 3, 8)), ["a", "b", "c"], embedding, limit=1)

    def test_a_limit_of_nothing_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least 1"):
            nearest_products(flat(unit_rows(0, 3, 8)), ["a", "b", "c"], unit_rows(0, 1, 8)[0], limit=0)

    @settings(max_examples=50, deadline=None)
    @given(rows=st.integers(1, 60), limit=st.integers(1, 80), seed=st.integers(0, 1000))
    def test_it_agrees_with_exhaustive_search(self, rows: int, limit: int, seed: int) -> None:
        """Vectors of halves: inner products are exact, and tie often."""
        generator = np.random.default_rng(seed)
        vectors = generator.choice(np.array([-0.5, 0.5], np.float32), size=(rows, 4))
        query = generator.choice(np.array([-0.5, 0.5], np.float32), size=4)
        product_ids = [f"p{number}" for number in generator.permutation(rows)]
        scored = zip(product_ids, (vectors @ query).tolist(), strict=True)
        exact = sorted(scored, key=lambda pair: (-pair[1], pair[0]))
        assert nearest_products(flat(vectors), product_ids, query, limit=limit) == exact[:limit]


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
