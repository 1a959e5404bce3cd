from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.encoder import ENCODER_FILE, TOKENIZER_FILE
from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import Manifest, ManifestDraft
from artifacts.store import ArtifactStore
from tests.artifacts.tiny_encoder import DIM, MAX_TOKENS, write_tiny_encoder
from training.embedding_encoder import kept_encoder, model_directory, source_of, tuned_encoder
from training.errors import RunFailed


@pytest.fixture
def model(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    (directory / "pooling").mkdir(parents=True)
    (directory / "weights").write_bytes(b"weights")
    (directory / "pooling" / "config.json").write_text("{}")
    return directory


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "root"))


@pytest.fixture
def parent(store: ArtifactStore, tmp_path: Path) -> Manifest:
    """A version whose encoder came of the source ``here``."""
    directory = tmp_path / "made"
    directory.mkdir()
    write_tiny_encoder(directory)
    draft = ManifestDraft(
        kind="embeddings",
        encoder="tiny-1",
        dim=DIM,
        parameters={"encoder_source": "here", "max_tokens": MAX_TOKENS},
        metrics={"cosine_mean": 0.99, "recall_at_10": 0.97},
    )
    return store.publish(directory, draft)


class TestSourceOf:
    def test_the_same_model_has_the_same_source(self, model: Path) -> None:
        assert source_of(model) == source_of(model)

    @pytest.mark.parametrize("file", ["weights", "pooling/config.json", "new"])
    def test_another_file_makes_it_another(self, model: Path, file: str) -> None:
        before = source_of(model)
        (model / file).write_bytes(b"other")
        assert source_of(model) != before

    def test_so_does_another_version_of_what_exports_it(self, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = source_of(model)
        monkeypatch.setattr("training.embedding_encoder.installed", lambda _: "99")
        assert source_of(model) != before


class TestKeptEncoder:
    def test_one_of_the_same_source_is_taken_over_with_its_own_figures(
        self, store: ArtifactStore, parent: Manifest
    ) -> None:
        encoder = kept_encoder(store, parent, "here")
        assert encoder is not None
        assert (encoder.version, encoder.dim, encoder.max_tokens) == ("tiny-1", DIM, MAX_TOKENS)
        assert encoder.metrics == {"cosine_mean": 0.99}
        assert encoder.files.keys() == {ENCODER_FILE, TOKENIZER_FILE}

    def test_one_of_another_source_is_not(self, store: ArtifactStore, parent: Manifest) -> None:
        assert kept_encoder(store, parent, "elsewhere") is None

    def test_a_damaged_one_is_not(self, store: ArtifactStore, parent: Manifest) -> None:
        (store.fetch("embeddings", parent.version) / ENCODER_FILE).write_bytes(b"other")
        assert kept_encoder(store, parent, "here") is None

    def test_without_a_version_in_use_there_is_none(self, store: ArtifactStore) -> None:
        assert kept_encoder(store, None, "here") is None


class TestModelDirectory:
    def test_a_model_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RunFailed, match="no model"):
            model_directory(str(tmp_path / "nowhere"))

    def test_a_directory_without_a_model_is_named_before_anything_runs(self, model: Path) -> None:
        with pytest.raises(RunFailed, match=f"no model in {model}"):
            model_directory(str(model))
        (model / "config.json").write_text("{}")
        assert model_directory(str(model)) == model


class TestTunedEncoder:
    @pytest.fixture
    def tuned(self, store: ArtifactStore, tmp_path: Path) -> Manifest:
        """A version that ``training.encoder`` made, not in use yet."""
        directory = tmp_path / "tuned"
        directory.mkdir()
        write_tiny_encoder(directory)
        draft = ManifestDraft(
            kind="encoder",
            encoder="tiny-tuned",
            dim=DIM,
            parameters={"max_tokens": MAX_TOKENS},
            metrics={"cosine_mean": 0.98, "ndcg_at_10": 0.7},
        )
        return store.publish(directory, draft)

    def test_the_one_in_use_is_taken_with_its_fidelity(self, store: ArtifactStore, tuned: Manifest) -> None:
        store.activate("encoder", tuned.version)
        encoder = tuned_encoder(store, "active")
        assert encoder is not None
        assert (encoder.version, encoder.source) == ("tiny-tuned", f"encoder {tuned.version}")
        assert encoder.metrics == {"cosine_mean": 0.98}
        assert encoder.files.keys() == {ENCODER_FILE, TOKENIZER_FILE}

    def test_one_that_is_named_need_not_be_in_use(self, store: ArtifactStore, tuned: Manifest) -> None:
        assert tuned_encoder(store, "active") is None
        encoder = tuned_encoder(store, tuned.version)
        assert encoder is not None
        assert encoder.version == "tiny-tuned"

    def test_the_base_model_is_none(self, store: ArtifactStore, tuned: Manifest) -> None:
        store.activate("encoder", tuned.version)
        assert tuned_encoder(store, "base") is None

    def test_a_damaged_one_is_refused_and_not_replaced_by_the_base_model(
        self, store: ArtifactStore, tuned: Manifest
    ) -> None:
        """All products would be embedded anew."""
        store.activate("encoder", tuned.version)
        (store.fetch("encoder", tuned.version) / ENCODER_FILE).write_bytes(b"other")
        with pytest.raises(ArtifactCorrupt):
            tuned_encoder(store, "active")
