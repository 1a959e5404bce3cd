"""Every file of every kind of version, damaged in every way, is noticed; what was sound before steps in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.encoder import OnnxEncoder
from artifacts.errors import ArtifactError
from artifacts.factors import Factors
from artifacts.manifest import MANIFEST_NAME, ArtifactKind, Manifest
from artifacts.popularity_table import PopularityTable
from artifacts.store import ArtifactStore
from tests.artifacts.test_active import DEADLINE_S, eventually
from tests.artifacts.versions import DAMAGES, WRITERS, remove

FILES: dict[ArtifactKind, tuple[str, ...]] = {
    "embeddings": ("encoder.onnx", "tokenizer.json", "index.faiss", "products.parquet", "self_test.json"),
    "collaborative": ("user_factors.npy", "item_factors.npy", "users.parquet", "items.parquet", "factors.json"),
    "popularity": ("popularity.parquet",),
    "encoder": ("encoder.onnx", "tokenizer.json"),
}
LOADERS: dict[ArtifactKind, Callable[[Path, Manifest], object]] = {
    "embeddings": EmbeddingIndex.load,
    "collaborative": Factors.load,
    "popularity": lambda directory, _: PopularityTable.load(directory),
    "encoder": lambda directory, _: OnnxEncoder(directory),
}
EACH_FILE = [(kind, name) for kind, names in FILES.items() for name in (*names, MANIFEST_NAME)]


def activated(store: ArtifactStore, kind: ArtifactKind, directory: Path) -> str:
    """Publish and activate one more version."""
    source = directory / f"made-{len(list(directory.glob('made-*')))}"
    source.mkdir()
    version = store.publish(source, WRITERS[kind](source)).version
    store.activate(kind, version)
    return version


def damage_history(store: ArtifactStore, damage: str) -> None:
    for entry in (Path(store.root) / "collaborative" / "history").iterdir():
        DAMAGES[damage](entry)


@pytest.fixture
def watched(store: ArtifactStore) -> Iterator[Callable[[ArtifactKind], ActiveArtifact[object]]]:
    started = []

    def watch(kind: ArtifactKind) -> ActiveArtifact[object]:
        active = ActiveArtifact(kind, LOADERS[kind], store, poll_s=0.01)
        started.append(active)
        active.start()
        active.wait(DEADLINE_S)
        return active

    yield watch
    for active in started:
        active.stop()


Watched = Callable[[ArtifactKind], ActiveArtifact[object]]


class TestDamagedFiles:
    def test_every_file_is_among_those_damaged(self, store: ArtifactStore, tmp_path: Path) -> None:
        for kind, names in FILES.items():
            manifest = store.manifest(kind, activated(store, kind, tmp_path))
            assert sorted(manifest.files) == sorted(names)

    @pytest.mark.parametrize(("kind", "name"), EACH_FILE)
    def test_the_version_before_steps_in(
        self, store: ArtifactStore, tmp_path: Path, watched: Watched, kind: ArtifactKind, name: str
    ) -> None:
        before, version = (activated(store, kind, tmp_path) for _ in range(2))
        path = Path(store.root) / kind / version / name
        whole = path.read_bytes()
        for damage in DAMAGES.values():
            damage(path)
            with pytest.raises(ArtifactError) as refusal:
                LOADERS[kind](store.fetch(kind, version), store.manifest(kind, version))
            assert name in str(refusal.value) or version in str(refusal.value)
            active = watched(kind)
            assert active.current is not None
            assert (active.current.version, active.cause) == (before, None)
            assert active.refused is not None
            assert active.refused.version == version
            remove(path)
            path.write_bytes(whole)

    @pytest.mark.parametrize(("kind", "name"), EACH_FILE)
    def test_alone_it_is_refused_and_says_why(
        self, store: ArtifactStore, tmp_path: Path, watched: Watched, kind: ArtifactKind, name: str
    ) -> None:
        version = activated(store, kind, tmp_path)
        DAMAGES["middle-bit"](Path(store.root) / kind / version / name)
        active = watched(kind)
        assert (active.current, active.cause) == (None, "artifact_corrupt")
        newer = activated(store, kind, tmp_path)
        assert eventually(lambda: active.current is not None and active.current.version == newer)
        assert (active.cause, active.refused) == (None, None)


@pytest.mark.parametrize("damage", DAMAGES)
class TestDamagedActive:
    def test_the_version_in_use_last_is_taken_again(
        self, store: ArtifactStore, tmp_path: Path, watched: Watched, damage: str
    ) -> None:
        version = activated(store, "collaborative", tmp_path)
        DAMAGES[damage](Path(store.root) / "collaborative" / "ACTIVE")
        active = watched("collaborative")
        assert eventually(lambda: active.current is not None)
        assert active.current is not None
        assert (active.current.version, active.cause) == (version, None)

    def test_what_is_in_use_stays_and_trouble_is_told_until_a_version_is_activated(
        self, store: ArtifactStore, tmp_path: Path, watched: Watched, damage: str
    ) -> None:
        version = activated(store, "collaborative", tmp_path)
        active = watched("collaborative")
        DAMAGES[damage](Path(store.root) / "collaborative" / "ACTIVE")
        if damage != "longer":
            assert eventually(lambda: active.refused is not None)
        assert active.current is not None
        assert active.current.version == version
        newer = activated(store, "collaborative", tmp_path)
        assert eventually(lambda: active.current is not None and active.current.version == newer)
        assert active.refused is None

    def test_a_damaged_history_keeps_nothing_from_use(
        self, store: ArtifactStore, tmp_path: Path, watched: Watched, damage: str
    ) -> None:
        version = activated(store, "collaborative", tmp_path)
        damage_history(store, damage)
        active = watched("collaborative")
        assert active.current is not None
        assert (active.current.version, active.refused) == (version, None)
        newer = activated(store, "collaborative", tmp_path)
        assert store.once_active("collaborative")[0] == newer

    def test_with_history_gone_a_parent_steps_in(
        self, store: ArtifactStore, tmp_path: Path, watched: Watched, damage: str
    ) -> None:
        before = activated(store, "collaborative", tmp_path)
        source = tmp_path / "child"
        source.mkdir()
        draft = WRITERS["collaborative"](source).model_copy(update={"parent": before})
        child = store.publish(source, draft).version
        store.activate("collaborative", child)
        kind = Path(store.root) / "collaborative"
        DAMAGES["middle-bit"](kind / child / "item_factors.npy")
        damage_history(store, damage)
        active = watched("collaborative")
        assert active.current is not None
        assert active.current.version == before


class TestStoreThatHangs:
    def test_the_start_waits_no_longer_than_it_wants_and_the_end_neither(self, tmp_path: Path) -> None:
        class HangingStore(ArtifactStore):
            def active_version(self, kind: ArtifactKind) -> str | None:
                time.sleep(60)
                return super().active_version(kind)

        active = ActiveArtifact("collaborative", Factors.load, HangingStore(str(tmp_path)))
        active.start()
        assert not active.wait(0.2)
        assert (active.looked, active.cause) == (False, "artifact_missing")
        assert active.looking_s >= 0.2
        began = time.monotonic()
        active.stop(timeout_s=0.1)
        assert time.monotonic() - began < 30
