from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from artifacts.embedding_index import EmbeddingIndex
from artifacts.encoder import ENCODER_FILE, TOKENIZER_FILE
from artifacts.manifest import ManifestDraft
from artifacts.self_test import SAMPLES, SELF_TEST_FILE, SelfTest
from artifacts.store import ArtifactStore
from storage.settings import StorageSettings
from tests.artifacts.tiny_encoder import DIM, MAX_TOKENS, write_tiny_encoder
from tests.training.conftest import Fetch
from training.embedding_encoder import Encoder
from training.embedding_pass import PassPlan, RangeEmbedder
from training.embedding_vectors import log_position
from training.embedding_version import VersionOrder, make_version
from training.errors import QualityTooLow

VERSION = "20261122T150000Z-abcdef"
WORDS = ("red", "blue", "wine", "film")
TITLES = [f"{one} {other} {third}" for one in WORDS for other in WORDS for third in WORDS]


@pytest.fixture
def encoder(tmp_path: Path) -> Encoder:
    write_tiny_encoder(tmp_path)
    files = {name: (tmp_path / name).read_bytes() for name in (ENCODER_FILE, TOKENIZER_FILE)}
    return Encoder("tiny-1", DIM, MAX_TOKENS, source="model", metrics={"cosine_mean": 1.0}, files=files)


@pytest.fixture
def order(database_url: str, encoder: Encoder, fetch: Fetch, tmp_path: Path) -> VersionOrder:
    """A version to make of 64 embedded products."""
    fetch(
        "insert into products (id, title)"
        " select 'p' || number, title from unnest($1::text[]) with ordinality as given (title, number)",
        TITLES,
    )
    settings = StorageSettings(database_url)
    embed = RangeEmbedder(PassPlan(settings, encoder.version, workers=1, threads=1), encoder.files)
    embed({"first": "", "end": None, "after": None})
    return VersionOrder(
        root=str(tmp_path / "root"),
        draft=ManifestDraft(kind="embeddings", version=VERSION, counts={"encoded": 64}),
        settings=settings,
        model="tiny",
        after=asyncio.run(log_position(database_url)),
        titles=WORDS,
        threads=1,
    )


def changed(order: VersionOrder, **fields: object) -> VersionOrder:
    return VersionOrder(**(vars(order) | fields))


class TestMakeVersion:
    def test_the_manifest_has_the_kind_its_figures_and_what_it_was_made_from(
        self, order: VersionOrder, encoder: Encoder
    ) -> None:
        manifest = make_version(changed(order, index="IVF4,SQ8"), encoder)
        said = manifest.parameters["index"]
        assert (said["type"], said["search"].keys()) == ("IVF4,SQ8", {"nprobe"})
        assert (manifest.encoder, manifest.dim, manifest.counts) == ("tiny-1", DIM, {"products": 64, "encoded": 64})
        assert manifest.parameters["encoder_source"] == "model"
        assert manifest.metrics.keys() == {
            "cosine_mean",
            "recall_at_10",
            "query_p50_ms",
            "query_p95_ms",
            "exact_p50_ms",
            "exact_p95_ms",
        }
        assert manifest.metrics["recall_at_10"] >= 0.95

    def test_serving_loads_it(self, order: VersionOrder, encoder: Encoder) -> None:
        manifest = make_version(order, encoder)
        directory = ArtifactStore(order.root).fetch("embeddings", VERSION)
        assert SELF_TEST_FILE in manifest.files
        assert len(SelfTest.load(directory).samples) == SAMPLES
        assert len(EmbeddingIndex.load(directory, manifest).product_ids) == 64

    def test_the_same_rows_have_the_same_digest(self, order: VersionOrder, encoder: Encoder, fetch: Fetch) -> None:
        first = make_version(order, encoder)
        again = ManifestDraft(kind="embeddings", version="20261122T150001Z-abcdef")
        assert (
            make_version(changed(order, draft=again), encoder).parameters["products_digest"]
            == (first.parameters["products_digest"])
        )
        fetch("delete from products where id = 'p1'")
        after = changed(order, draft=again.model_copy(update={"version": "20261122T150002Z-abcdef"}))
        assert make_version(after, encoder).parameters["products_digest"] != first.parameters["products_digest"]

    def test_an_index_that_finds_too_little_is_not_published(self, order: VersionOrder, encoder: Encoder) -> None:
        with pytest.raises(QualityTooLow, match="PQ1x1"):
            make_version(changed(order, index="PQ1x1"), encoder)
        assert ArtifactStore(order.root).versions("embeddings") == []

    def test_a_task_that_died_after_publishing_does_not_publish_twice(
        self, order: VersionOrder, encoder: Encoder
    ) -> None:
        assert make_version(order, encoder) == make_version(order, encoder)

    def test_a_product_whose_text_changed_since_is_in_the_index_but_not_in_the_self_test(
        self, order: VersionOrder, encoder: Encoder, fetch: Fetch
    ) -> None:
        fetch("update products set title = 'another text' where id <> 'p5'")
        manifest = make_version(order, encoder)
        directory = ArtifactStore(order.root).fetch("embeddings", VERSION)
        assert manifest.counts["products"] == 64
        assert {sample.product_id for sample in SelfTest.load(directory).samples} <= {"p5"}
