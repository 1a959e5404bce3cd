"""Two writers at once, writers that are killed, servers that are away: on a directory, and on a real S3 server."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pyarrow import fs as arrow_fs

from artifacts.errors import ArtifactCorrupt, ArtifactStoreUnavailable
from artifacts.manifest import ArtifactKind, ManifestDraft, is_version, new_version
from artifacts.retention import remove, retention
from artifacts.store import ArtifactStore
from artifacts.tree import Leftover
from cluster.state_directory import project_root
from tests.artifacts.s3_server import BUCKET, CREDENTIALS, S3Server, s3_server

KIND: ArtifactKind = "collaborative"
PLACES = ("directory", "s3")
TIMEOUT_S = 300.0
KILLS = 4
FILES, FILE_BYTES = 4, 3_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as started:
        yield started


@pytest.fixture(params=PLACES)
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place of this test's own."""
    if request.param == "directory":
        return str(tmp_path / "root")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server: S3Server = request.getfixturevalue("server")
    return server.root(f"test-{time.monotonic_ns()}")


@pytest.fixture
def store(root: str, tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(root, cache=str(tmp_path / "cache"))


def publish(store: ArtifactStore, tmp_path: Path, content: str, **fields: object) -> str:
    source = tmp_path / f"source-{content}"
    source.mkdir(exist_ok=True)
    (source / "note.txt").write_text(content)
    return store.publish(source, ManifestDraft(kind=KIND, **fields)).version  # type: ignore[arg-type]


def script(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.artifacts.{name}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(project_root())}
    return subprocess.Popen(command, cwd=project_root(), env=environment, stdout=subprocess.PIPE, text=True)


def spoil(root: str, name: str, content: bytes) -> None:
    """Write to the store behind its back."""
    filesystem, base = arrow_fs.FileSystem.from_uri(root) if "://" in root else (arrow_fs.LocalFileSystem(), root)
    with filesystem.open_output_stream(f"{base}/{name}") as stream:
        stream.write(content)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


class TestActivationsAtOnce:
    def test_the_pointer_is_whole_and_the_history_has_all(
        self, store: ArtifactStore, root: str, tmp_path: Path
    ) -> None:
        """Two processes activate as fast as they can while a third one reads."""
        times = 60 if "://" not in root else 12
        mine, other = (publish(store, tmp_path, content) for content in ("mine", "other"))
        store.activate(KIND, mine)
        writers = [
            script("activator", root, str(tmp_path / f"cache-{name}"), str(times), *order)
            for name, order in (("a", (mine, other)), ("b", (other, mine)))
        ]
        seen = set()
        while any(writer.poll() is None for writer in writers):
            seen.add(store.active_version(KIND))
            time.sleep(0.001)
        assert [writer.wait(TIMEOUT_S) for writer in writers] == [0, 0]
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.close()
        history = store.history(KIND)
        assert len(history) == 2 * times + 1
        assert sum(each.version == mine for each in history) == times + 1
        assert seen | {store.active_version(KIND)} <= {mine, other}
        assert store.fetch(KIND, store.active_version(KIND) or "")


class TestKilledPublisher:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        made = tmp_path / "made"
        made.mkdir()
        for number in range(FILES):
            (made / f"factors-{number}.npy").write_bytes(random.Random(number).randbytes(FILE_BYTES))  # noqa: S311
        return made

    def test_nothing_of_it_is_seen_and_the_same_files_can_be_published_again(
        self, store: ArtifactStore, root: str, tmp_path: Path, source: Path
    ) -> None:
        """Killed at ever later moments; what is listed is whole, whatever the moment was."""
        published: set[str] = set()
        torn: set[str] = set()
        for kill in range(KILLS):
            version = new_version()
            writer = script("publisher", root, str(tmp_path / "cache-other"), str(source), version)
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begins\n"
            time.sleep(0.04 * kill * (4 if "://" in root else 1))
            writer.kill()
            done = writer.stdout.read() == "done\n"
            writer.wait(TIMEOUT_S)
            writer.stdout.close()
            (published if version in store.versions(KIND) else torn).add(version)
            assert done <= (version in published)
        assert torn, "none was killed in time"
        for version in published:
            assert store.fetch(KIND, version)
        again = torn.pop()
        store.publish(source, ManifestDraft(kind=KIND, version=again))
        assert store.fetch(KIND, again)
        store.activate(KIND, again)
        assert set(store.versions(KIND)) == published | {again}

    def test_what_it_left_goes_after_a_day_and_not_before(
        self, store: ArtifactStore, root: str, tmp_path: Path, source: Path
    ) -> None:
        active = publish(store, tmp_path, "active")
        store.activate(KIND, active)
        left: list[Leftover] = []
        while not left:
            writer = script("publisher", root, str(tmp_path / "cache-other"), str(source), new_version())
            while writer.poll() is None and not store.leftovers(KIND):
                pass
            writer.kill()
            writer.wait(TIMEOUT_S)
            assert writer.stdout is not None
            writer.stdout.close()
            left = store.leftovers(KIND)
        names = {each.name for each in left}
        assert retention(store, KIND, served={}).remove == []
        later = datetime.now(UTC) + timedelta(hours=25)
        found = [each for each in retention(store, KIND, served={}, now=later).remove if each.leftover is not None]
        assert {each.name for each in found} == names
        assert [remove(store, KIND, each) for each in found] == [True] * len(found)
        assert store.leftovers(KIND) == []
        assert store.fetch(KIND, active)


class TestPruning:
    def test_what_is_removed_is_gone_and_the_rest_stays(self, store: ArtifactStore, tmp_path: Path) -> None:
        old = datetime.now(UTC) - timedelta(days=3)
        names = [f"20261101T15000{number}Z-abcdef" for number in range(5)]
        versions = [publish(store, tmp_path, name, created_at=old, version=name) for name in names]
        for version in versions[1:]:
            store.activate(KIND, version)
        later = datetime.now(UTC) + timedelta(hours=25)
        found = retention(store, KIND, served={versions[1]: ["search"]}, now=later)
        assert found.keep[versions[1]] == "served by search"
        assert [each.name for each in found.remove] == [versions[0], versions[2]]
        assert [remove(store, KIND, each) for each in found.remove] == [True, True]
        assert store.versions(KIND) == [versions[1], *versions[3:]]
        assert all(is_version(name) for name in store.versions(KIND))
        assert [remove(store, KIND, each) for each in found.remove] == [False, False]


class TestBadInput:
    def test_a_scribbled_pointer_says_what_to_activate(self, store: ArtifactStore, root: str, tmp_path: Path) -> None:
        version = publish(store, tmp_path, "one")
        store.activate(KIND, version)
        spoil(root, f"{KIND}/ACTIVE", b"\x00scribble")
        with pytest.raises(ArtifactCorrupt, match=f"does not name a version. Activate one of: {version}"):
            store.active_version(KIND)
        assert store.in_use_before(KIND) == [version]
        store.activate(KIND, version)
        assert store.active_version(KIND) == version

    def test_what_was_changed_in_the_store_is_noticed_though_a_sound_copy_is_kept_here(
        self, store: ArtifactStore, root: str, tmp_path: Path
    ) -> None:
        version = publish(store, tmp_path, "whole")
        store.fetch(KIND, version)
        spoil(root, f"{KIND}/{version}/note.txt", b"wrong")
        with pytest.raises(ArtifactCorrupt, match=r"sha256 of note.txt differs"):
            store.fetch(KIND, version, anew=True)

    def test_a_root_that_is_a_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "root").write_text("")
        with pytest.raises(ArtifactStoreUnavailable, match="is not a directory"):
            ArtifactStore(str(tmp_path / "root")).require()

    def test_a_root_that_may_not_be_read_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "root").mkdir(mode=0o000)
        with as_nobody(), pytest.raises(ArtifactStoreUnavailable, match=r"Permission denied.*permissions"):
            ArtifactStore(str(tmp_path / "root")).require()

    def test_a_bucket_that_may_not_be_read_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        with s3_server(guarded=True) as guarded:
            store = ArtifactStore(guarded.root("prefix"), cache=str(tmp_path))
            with pytest.raises(ArtifactStoreUnavailable, match=r"INVALID_ACCESS_KEY_ID.*AWS_ACCESS_KEY_ID"):
                store.require()

    def test_a_server_that_is_away_is_named(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        store = ArtifactStore(S3Server(1).root("prefix"), cache=str(tmp_path))
        with pytest.raises(ArtifactStoreUnavailable, match=r"(?s)Cannot list bucket/prefix.*endpoint and region"):
            store.require()

    def test_a_bucket_that_is_not_there_is_named(
        self, server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ArtifactStoreUnavailable, match="There is no bucket misspelt"):
            ArtifactStore(server.root("prefix", bucket="misspelt"), cache=str(tmp_path)).require()
        ArtifactStore(server.root("nothing-yet", bucket=BUCKET), cache=str(tmp_path)).require()
