from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from pyarrow import fs as arrow_fs

from artifacts.errors import ArtifactConflict, ArtifactCorrupt, ArtifactMissing, ArtifactStoreUnavailable
from artifacts.manifest import MANIFEST_NAME, ArtifactKind, ManifestDraft
from artifacts.object_tree import ObjectTree
from artifacts.store import ArtifactStore
from tests.artifacts.conftest import Publish

KIND: ArtifactKind = "collaborative"


def version_directory(store: ArtifactStore, version: str) -> Path:
    return Path(store.root) / KIND / version


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


class TestArtifactStore:
    def test_an_empty_root_has_no_versions_and_none_active(self, store: ArtifactStore) -> None:
        assert (store.versions(KIND), store.active_version(KIND), store.history(KIND)) == ([], None, [])

    def test_a_root_that_is_not_set_is_named(self) -> None:
        with pytest.raises(ArtifactStoreUnavailable, match="SHORTLIST_ARTIFACTS is not set"):
            ArtifactStore.from_environment({})

    def test_a_file_uri_is_the_local_directory(self, store: ArtifactStore, publish: Publish) -> None:
        published = publish("one")
        assert ArtifactStore(f"file://{store.root}").manifest(KIND, published.version) == published

    def test_an_unknown_scheme_is_explained(self) -> None:
        with pytest.raises(ArtifactStoreUnavailable, match="s3://bucket/prefix"):
            ArtifactStore("nosuchscheme://bucket/prefix")

    def test_published_files_are_fetched_as_they_were(self, store: ArtifactStore, publish: Publish) -> None:
        version = publish("content").version
        assert (store.fetch(KIND, version) / "note.txt").read_text() == "content"

    def test_versions_run_from_the_oldest(self, store: ArtifactStore, publish: Publish) -> None:
        expected = [publish(content).version for content in ("a", "b", "c")]
        assert store.versions(KIND) == expected

    def test_publishing_does_not_activate(self, store: ArtifactStore, publish: Publish) -> None:
        publish("a")
        assert store.active_version(KIND) is None

    def test_publishing_leaves_the_source_as_it_is(self, store: ArtifactStore, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "a").write_text("a")
        store.publish(source, ManifestDraft(kind=KIND))
        assert [path.name for path in source.iterdir()] == ["a"]

    def test_a_version_is_never_overwritten(self, store: ArtifactStore, publish: Publish, tmp_path: Path) -> None:
        version = publish("a").version
        with pytest.raises(ArtifactConflict):
            store.publish(tmp_path / "made-0", ManifestDraft(kind=KIND, version=version))
        assert [path.name for path in (Path(store.root) / KIND).iterdir()] == [version]

    def test_a_version_without_its_manifest_does_not_exist(self, store: ArtifactStore, publish: Publish) -> None:
        """As a writer leaves it that was killed while uploading to an object store."""
        version = publish("a").version
        (version_directory(store, version) / MANIFEST_NAME).unlink()
        assert store.versions(KIND) == []
        with pytest.raises(ArtifactMissing):
            store.fetch(KIND, version)

    def test_a_staging_directory_is_no_version(self, store: ArtifactStore, publish: Publish) -> None:
        """As a writer leaves it that was killed while copying to a local root."""
        version = publish("a").version
        staging = Path(store.root) / KIND / f".staging-{version}-x"
        shutil.copytree(version_directory(store, version), staging)
        assert store.versions(KIND) == [version]

    def test_an_abandoned_staging_directory_is_swept_after_a_day(self, store: ArtifactStore, publish: Publish) -> None:
        publish("a")
        left, working = (Path(store.root) / KIND / f".staging-{name}" for name in ("left", "working"))
        left.mkdir()
        working.mkdir()
        os.utime(left, (0, 0))
        publish("b")
        assert (left.exists(), working.exists()) == (False, True)

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
    def test_a_full_disk_leaves_nothing_behind(
        self, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "a").write_bytes(b"x" * 100_000)

        def copy_to_a_full_disk(origin: Path, _: Path) -> None:
            Path("/dev/full").write_bytes(origin.read_bytes())

        monkeypatch.setattr("artifacts.local_tree.shutil.copyfile", copy_to_a_full_disk)
        with pytest.raises(ArtifactStoreUnavailable, match="No space left"):
            store.publish(source, ManifestDraft(kind=KIND))
        assert list((Path(store.root) / KIND).iterdir()) == []

    def test_a_root_that_is_a_file_is_explained(self, tmp_path: Path) -> None:
        (tmp_path / "root").write_text("")
        with pytest.raises(ArtifactStoreUnavailable, match="Check the path"):
            ArtifactStore(str(tmp_path / "root")).publish(tmp_path, ManifestDraft(kind=KIND))

    def test_a_flipped_bit_is_found(self, store: ArtifactStore, publish: Publish) -> None:
        version = publish("content").version
        flip_a_bit(version_directory(store, version) / "note.txt")
        with pytest.raises(ArtifactCorrupt, match=r"sha256 of note.txt differs from the manifest. Roll back"):
            store.fetch(KIND, version)

    def test_a_truncated_file_is_found(self, store: ArtifactStore, publish: Publish) -> None:
        version = publish("content").version
        (version_directory(store, version) / "note.txt").write_text("con")
        with pytest.raises(ArtifactCorrupt, match=r"note.txt has 3 bytes where the manifest says 7"):
            store.fetch(KIND, version)

    def test_a_missing_file_is_found(self, store: ArtifactStore, publish: Publish) -> None:
        version = publish("content").version
        (version_directory(store, version) / "note.txt").unlink()
        with pytest.raises(ArtifactCorrupt, match=r"note.txt is missing"):
            store.fetch(KIND, version)

    @pytest.mark.parametrize("content", ["", "{", '{"kind": "collaborative"}', "\x00"])
    def test_a_manifest_that_cannot_be_read_is_corrupt(
        self, store: ArtifactStore, publish: Publish, content: str
    ) -> None:
        version = publish("a").version
        (version_directory(store, version) / MANIFEST_NAME).write_text(content)
        with pytest.raises(ArtifactCorrupt):
            store.manifest(KIND, version)

    def test_a_manifest_cannot_name_files_elsewhere(self, store: ArtifactStore, publish: Publish) -> None:
        version = publish("a").version
        path = version_directory(store, version) / MANIFEST_NAME
        path.write_text(path.read_text().replace("note.txt", "../../secret"))
        with pytest.raises(ArtifactCorrupt, match="not a file name inside"):
            store.manifest(KIND, version)

    def test_a_version_under_another_name_is_corrupt(self, store: ArtifactStore, publish: Publish) -> None:
        version = publish("a").version
        other = "20261122T160000Z-abcdef"
        version_directory(store, version).rename(version_directory(store, other))
        with pytest.raises(ArtifactCorrupt, match=f"holds collaborative {version}"):
            store.manifest(KIND, other)

    def test_a_name_that_is_no_version_is_missing(self, store: ArtifactStore) -> None:
        with pytest.raises(ArtifactMissing):
            store.fetch(KIND, "../popularity")

    def test_activation_is_remembered(self, store: ArtifactStore, publish: Publish) -> None:
        first, second = publish("a").version, publish("b").version
        store.activate(KIND, first)
        store.activate(KIND, second)
        assert store.active_version(KIND) == second
        assert [(one.version, one.replaced) for one in store.history(KIND)] == [(first, None), (second, first)]

    def test_a_history_of_lines_is_read_before_the_files(self, store: ArtifactStore, publish: Publish) -> None:
        """As versions before this one wrote it."""
        first, second, third = (publish(content).version for content in "abc")
        line = '{"version": "%s", "replaced": null, "activated_at": "2026-11-22T15:00:00Z"}\n'
        (Path(store.root) / KIND / "HISTORY").write_text(line % first + "half a li\n" + line % second)
        store.activate(KIND, third)
        assert [one.version for one in store.history(KIND)] == [first, second, third]
        assert store.in_use_before(KIND) == [second, first]

    def test_what_a_killed_activation_left_is_no_history(self, store: ArtifactStore, publish: Publish) -> None:
        version = publish("a").version
        store.activate(KIND, version)
        history = Path(store.root) / KIND / "history"
        (history / ".staging-left").write_bytes(next(history.iterdir()).read_bytes())
        assert [one.version for one in store.history(KIND)] == [version]

    def test_with_no_history_left_a_rollback_goes_to_the_parent(
        self, store: ArtifactStore, tmp_path: Path, publish: Publish
    ) -> None:
        first = publish("a").version
        child = store.publish(tmp_path / "made-0", ManifestDraft(kind=KIND, parent=first)).version
        store.activate(KIND, child)
        shutil.rmtree(Path(store.root) / KIND / "history")
        assert store.in_use_before(KIND) == [first]

    def test_what_is_gone_is_not_gone_back_to(self, store: ArtifactStore, publish: Publish) -> None:
        first, second, third = (publish(content).version for content in "abc")
        for version in (first, second, third):
            store.activate(KIND, version)
        shutil.rmtree(version_directory(store, second))
        assert store.in_use_before(KIND) == [first]

    def test_a_version_that_is_removed_while_it_is_activated_does_not_stay_active(
        self, store: ArtifactStore, publish: Publish, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = publish("a").version, publish("b").version
        store.activate(KIND, first)
        monkeypatch.setattr(store, "fetch", lambda *_: shutil.rmtree(version_directory(store, second)))
        with pytest.raises(ArtifactMissing, match="removed meanwhile"):
            store.activate(KIND, second)
        assert store.active_version(KIND) == first

    def test_a_version_that_is_activated_while_it_is_removed_stays(
        self, store: ArtifactStore, publish: Publish
    ) -> None:
        version = publish("a").version
        store.activate(KIND, version)
        assert store.withdraw(KIND, version) is None
        assert (store.fetch(KIND, version) / "note.txt").read_text() == "a"
        assert not list((Path(store.root) / KIND).glob(".staging-*"))

    def test_a_corrupt_version_is_not_activated(self, store: ArtifactStore, publish: Publish) -> None:
        first, second = publish("a").version, publish("b").version
        store.activate(KIND, first)
        flip_a_bit(version_directory(store, second) / "note.txt")
        with pytest.raises(ArtifactCorrupt):
            store.activate(KIND, second)
        assert store.active_version(KIND) == first

    def test_a_scribbled_active_file_is_corrupt_and_can_be_replaced(
        self, store: ArtifactStore, publish: Publish
    ) -> None:
        version = publish("a").version
        (Path(store.root) / KIND / "ACTIVE").write_text("../../etc\n")
        with pytest.raises(ArtifactCorrupt, match=version):
            store.active_version(KIND)
        store.activate(KIND, version)
        assert store.active_version(KIND) == version

    def test_versions_can_be_read_by_other_accounts(self, store: ArtifactStore, publish: Publish) -> None:
        version = publish("a").version
        store.activate(KIND, version)
        modes = [
            stat.S_IMODE(path.stat().st_mode) & 0o044
            for path in (version_directory(store, version), Path(store.root) / KIND / "ACTIVE")
        ]
        assert modes == [0o044, 0o044]


class TestArtifactStoreOverObjects:
    """The same store over ``pyarrow.fs``, as for S3; the file system behind it is local."""

    @pytest.fixture
    def bucket(self, tmp_path: Path) -> Path:
        return tmp_path / "bucket"

    @pytest.fixture
    def remote(self, bucket: Path, tmp_path: Path) -> ArtifactStore:
        bucket.mkdir()
        filesystem = arrow_fs.SubTreeFileSystem(str(bucket), arrow_fs.LocalFileSystem())
        return ArtifactStore.over(ObjectTree(filesystem, "prefix", tmp_path / "cache"), "s3://bucket/prefix")

    @pytest.fixture
    def version(self, remote: ArtifactStore, tmp_path: Path) -> str:
        source = tmp_path / "source"
        (source / "below").mkdir(parents=True)
        (source / "below" / "note.txt").write_text("content")
        return remote.publish(source, ManifestDraft(kind=KIND)).version

    def test_a_version_is_fetched_into_the_cache(self, remote: ArtifactStore, version: str, tmp_path: Path) -> None:
        directory = remote.fetch(KIND, version)
        assert directory == tmp_path / "cache" / KIND / version
        assert (directory / "below" / "note.txt").read_text() == "content"

    def test_it_is_listed_and_activated(self, remote: ArtifactStore, version: str) -> None:
        remote.activate(KIND, version)
        assert (remote.versions(KIND), remote.active_version(KIND)) == ([version], version)
        assert [one.version for one in remote.history(KIND)] == [version]

    def test_a_half_uploaded_version_does_not_exist(self, remote: ArtifactStore, version: str, bucket: Path) -> None:
        (bucket / "prefix" / KIND / version / MANIFEST_NAME).unlink()
        assert remote.versions(KIND) == []

    def test_a_spoilt_cache_is_fetched_anew(self, remote: ArtifactStore, version: str) -> None:
        cached = remote.fetch(KIND, version) / "below" / "note.txt"
        flip_a_bit(cached)
        assert (remote.fetch(KIND, version) / "below" / "note.txt").read_text() == "content"

    def test_a_corrupt_object_is_found(self, remote: ArtifactStore, version: str, bucket: Path) -> None:
        flip_a_bit(bucket / "prefix" / KIND / version / "below" / "note.txt")
        with pytest.raises(ArtifactCorrupt, match="sha256"):
            remote.fetch(KIND, version)

    def test_a_missing_object_is_found(self, remote: ArtifactStore, version: str, bucket: Path) -> None:
        (bucket / "prefix" / KIND / version / "below" / "note.txt").unlink()
        with pytest.raises(ArtifactCorrupt, match="is missing"):
            remote.fetch(KIND, version)

    def test_a_version_is_never_overwritten(self, remote: ArtifactStore, version: str, tmp_path: Path) -> None:
        with pytest.raises(ArtifactConflict):
            remote.publish(tmp_path / "source", ManifestDraft(kind=KIND, version=version))
