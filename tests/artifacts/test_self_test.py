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
from artifacts.id_map import IdMap
from artifacts.manifest import Manifest, ManifestDraft
from artifacts.self_test import SAMPLES, SelfTest
from artifacts.store import ArtifactStore
from tests.artifacts.tiny_encoder import DIM, write_tiny_encoder
from tests.artifacts.vectors import flat, unit_rows
from tests.artifacts.versions import TITLES, write_embeddings

WORDS = ("red", "blue", "wine", "film")
PRODUCTS = [(f"{one}-{other}", f"{one} {other}") for one in WORDS for other in WORDS if one <= other]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A sound version's files."""
    made = tmp_path / "made"
    made.mkdir()
    write_embeddings(made)
    return made


def published(directory: Path, *, products: int | None = None) -> tuple[Path, Manifest]:
    """What a publisher makes of *directory*: every checksum is right."""
    store = ArtifactStore(str(directory.parent / "root"))
    counts = {} if products is None else {"products": products}
    manifest = store.publish(directory, ManifestDraft(kind="embeddings", dim=DIM, counts=counts))
    return store.fetch("embeddings", manifest.version), manifest


@pytest.fixture
def encoder(directory: Path) -> OnnxEncoder:
    return OnnxEncoder(directory)


class TestSelfTest:
    def test_a_sound_version_passes(self, directory: Path) -> None:
        assert len(EmbeddingIndex.load(*published(directory)).product_ids) == len(TITLES)

    def test_a_version_without_one_loads_still(self, directory: Path) -> None:
        (directory / "self_test.json").unlink()
        assert len(EmbeddingIndex.load(*published(directory)).product_ids) == len(TITLES)

    def test_an_index_by_another_encoder_of_the_same_dimension_is_corrupt(self, directory: Path) -> None:
        faiss.write_index(flat(unit_rows(5, len(TITLES), DIM)), str(directory / INDEX_FILE))
        with pytest.raises(ArtifactCorrupt, match="not of one encoder"):
            EmbeddingIndex.load(*published(directory))

    def test_products_in_another_order_are_corrupt(self, directory: Path) -> None:
        pq.write_table(pa.table({"product_id": [*TITLES][::-1]}), directory / PRODUCTS_FILE)
        with pytest.raises(ArtifactCorrupt, match="not of one encoder"):
            EmbeddingIndex.load(*published(directory))

    def test_other_products_are_corrupt(self, directory: Path) -> None:
        pq.write_table(pa.table({"product_id": ["a", "b", "c"]}), directory / PRODUCTS_FILE)
        with pytest.raises(ArtifactCorrupt, match="lacks p1"):
            EmbeddingIndex.load(*published(directory))

    def test_a_few_samples_from_first_to_last_are_taken(self, encoder: OnnxEncoder) -> None:
        index = flat(encoder.encode([text for _, text in PRODUCTS]))
        test = SelfTest.made(encoder, index, PRODUCTS)
        assert len(test.samples) == SAMPLES
        assert (test.samples[0].product_id, test.samples[-1].product_id) == (PRODUCTS[0][0], PRODUCTS[-1][0])
        assert test.cosine == pytest.approx(1.0, abs=1e-4)

    def test_an_index_that_compresses_is_held_to_what_it_was_when_published(self, encoder: OnnxEncoder) -> None:
        index = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_4bit, faiss.METRIC_INNER_PRODUCT)
        vectors = encoder.encode([text for _, text in PRODUCTS])
        index.train(vectors)
        index.add(vectors)
        test = SelfTest.made(encoder, index, PRODUCTS)
        assert test.cosine < 1
        assert test.problem(encoder, index, IdMap([product for product, _ in PRODUCTS])) is None

    def test_an_empty_index_has_an_empty_test(self, encoder: OnnxEncoder) -> None:
        test = SelfTest.made(encoder, faiss.IndexFlatIP(DIM), [])
        assert (test.samples, test.problem(encoder, faiss.IndexFlatIP(DIM), IdMap([]))) == ([], None)


class TestVectors:
    @pytest.mark.parametrize(
        ("value", "said"), [(np.nan, "not finite"), (np.inf, "not finite"), (7.0, "not of unit length")]
    )
    def test_a_vector_that_is_none_is_corrupt(self, directory: Path, value: float, said: str) -> None:
        vectors = OnnxEncoder(directory).encode(list(TITLES.values()))
        vectors[1, 2] = value
        faiss.write_index(flat(vectors), str(directory / INDEX_FILE))
        with pytest.raises(ArtifactCorrupt, match=said):
            EmbeddingIndex.load(*published(directory))

    def test_an_index_by_distance_is_corrupt(self, directory: Path) -> None:
        index = faiss.IndexFlatL2(DIM)
        index.add(OnnxEncoder(directory).encode(list(TITLES.values())))
        faiss.write_index(index, str(directory / INDEX_FILE))
        with pytest.raises(ArtifactCorrupt, match="inner product"):
            EmbeddingIndex.load(*published(directory))

    def test_another_number_of_products_than_the_manifest_says_is_corrupt(self, directory: Path) -> None:
        with pytest.raises(ArtifactCorrupt, match="3 vectors where the manifest says 4"):
            EmbeddingIndex.load(*published(directory, products=4))

    def test_a_product_without_an_id_is_corrupt(self, directory: Path) -> None:
        pq.write_table(pa.table({"product_id": ["p1", None, "p3"]}), directory / PRODUCTS_FILE)
        with pytest.raises(ArtifactCorrupt, match="no id"):
            EmbeddingIndex.load(*published(directory))

    def test_another_encoders_file_alone_is_corrupt(self, directory: Path) -> None:
        """Not only the index may be the stranger."""
        write_tiny_encoder(directory, seed=4)
        with pytest.raises(ArtifactCorrupt, match="not of one encoder"):
            EmbeddingIndex.load(*published(directory))
