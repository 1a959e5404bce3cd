from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import fs as arrow_fs

from artifacts.errors import ArtifactStoreUnavailable
from artifacts.manifest import ArtifactKind, ManifestDraft
from artifacts.object_tree import ObjectTree
from artifacts.store import ArtifactStore
from tests.small_disk import fill, small_disk

KIND: ArtifactKind = "collaborative"
BIG = 2_000_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk") as directory:
        yield directory


def made(tmp_path: Path, size: int) -> Path:
    directory = tmp_path / f"made-{size}"
    directory.mkdir(exist_ok=True)
    (directory / "factors").write_bytes(bytes(size))
    return directory


def below(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


class TestFullArtifactDisk:
    def test_publishing_says_where_and_what_to_do_and_works_once_there_is_room(
        self, disk: Path, tmp_path: Path
    ) -> None:
        store = ArtifactStore(str(disk / "root"))
        first = store.publish(made(tmp_path, 1000), ManifestDraft(kind=KIND)).version
        store.activate(KIND, first)
        before = below(disk / "root")
        filler = fill(disk, leave=BIG // 2)
        draft = ManifestDraft(kind=KIND)
        with pytest.raises(ArtifactStoreUnavailable, match=rf"{disk}.*No space left on device.*Make room"):
            store.publish(made(tmp_path, BIG), draft)
        assert below(disk / "root") == before
        assert (store.versions(KIND), store.active_version(KIND)) == ([first], first)
        filler.unlink()
        store.publish(made(tmp_path, BIG), draft)
        store.activate(KIND, draft.version)
        assert (store.versions(KIND), store.active_version(KIND)) == (sorted([first, draft.version]), draft.version)

    def test_a_disk_that_fills_meanwhile_leaves_nothing_behind(
        self, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As if another took the room between the look at the disk and the copying."""
        store = ArtifactStore(str(disk / "root"))
        (disk / "root" / KIND).mkdir(parents=True)
        fill(disk, leave=BIG // 2)
        monkeypatch.setattr("artifacts.local_tree.require_room", lambda *_: None)
        with pytest.raises(ArtifactStoreUnavailable, match=r"No space left on device.*Make room"):
            store.publish(made(tmp_path, BIG), ManifestDraft(kind=KIND))
        assert below(disk / "root") == [KIND]

    def test_activation_needs_room_before_anything_changes(self, disk: Path, tmp_path: Path) -> None:
        store = ArtifactStore(str(disk / "root"))
        first, second = (store.publish(made(tmp_path, size), ManifestDraft(kind=KIND)).version for size in (10, 20))
        store.activate(KIND, first)
        filler = fill(disk)
        with pytest.raises(ArtifactStoreUnavailable, match="Make room"):
            store.activate(KIND, second)
        assert store.active_version(KIND) == first
        filler.unlink()
        store.activate(KIND, second)
        assert store.active_version(KIND) == second
        assert not list((disk / "root" / KIND).glob(".staging-*"))


class TestFullCache:
    def test_fetching_says_where_and_works_once_there_is_room(self, disk: Path, tmp_path: Path) -> None:
        tree = ObjectTree(arrow_fs.LocalFileSystem(), str(tmp_path / "objects"), disk / "cache")
        store = ArtifactStore.over(tree, "objects")
        version = store.publish(made(tmp_path, BIG), ManifestDraft(kind=KIND)).version
        filler = fill(disk, leave=BIG // 2)
        with pytest.raises(ArtifactStoreUnavailable, match=rf"{disk}.*No space left on device"):
            store.fetch(KIND, version)
        assert below(disk / "cache") == [KIND]
        filler.unlink()
        assert (store.fetch(KIND, version) / "factors").stat().st_size == BIG
