from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from artifacts.active import ActiveArtifact, Loaded
from artifacts.manifest import ArtifactKind, Manifest
from artifacts.store import ArtifactStore
from tests.artifacts.conftest import Publish
from tests.artifacts.test_store import flip_a_bit, version_directory

KIND: ArtifactKind = "collaborative"
DEADLINE_S = 60.0


def note(directory: Path, manifest: Manifest) -> str:
    """The note and its version; a note that says so cannot be loaded."""
    content = (directory / "note.txt").read_text()
    if content == "unloadable":
        raise RuntimeError("this is not an index")
    return f"{manifest.version} {content}"


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def is_current(active: ActiveArtifact[str], version: str) -> bool:
    return active.current is not None and active.current.version == version


@pytest.fixture
def watch(store: ArtifactStore) -> Iterator[Callable[[], ActiveArtifact[str]]]:
    started = []

    def watch_store() -> ActiveArtifact[str]:
        active = ActiveArtifact(KIND, note, store, poll_s=0.01)
        started.append(active)
        active.start()
        active.wait(DEADLINE_S)
        return active

    yield watch_store
    for active in started:
        active.stop()


Watch = Callable[[], ActiveArtifact[str]]


class TestActiveArtifact:
    def test_without_an_active_version_it_says_so(self, watch: Watch) -> None:
        active = watch()
        assert (active.current, active.cause) == (None, "artifact_missing")

    def test_the_active_version_is_loaded(self, store: ArtifactStore, publish: Publish, watch: Watch) -> None:
        manifest = publish("a")
        store.activate(KIND, manifest.version)
        active = watch()
        assert active.current == Loaded(manifest.version, manifest, f"{manifest.version} a")
        assert active.cause is None

    def test_a_first_activation_is_noticed(self, store: ArtifactStore, publish: Publish, watch: Watch) -> None:
        active = watch()
        store.activate(KIND, publish("a").version)
        assert eventually(lambda: active.current is not None)
        assert active.cause is None

    def test_a_swap_keeps_the_version_before(self, store: ArtifactStore, publish: Publish, watch: Watch) -> None:
        first, second = publish("a").version, publish("b").version
        store.activate(KIND, first)
        active = watch()
        store.activate(KIND, second)
        assert eventually(lambda: active.current is not None and active.current.version == second)
        assert active.previous is not None
        assert active.previous.version == first
        assert active.of_version(first) is active.previous
        assert active.of_version("20000101T000000Z-abcdef") is None

    def test_a_rollback_needs_no_files(self, store: ArtifactStore, publish: Publish, watch: Watch) -> None:
        first, second = publish("a").version, publish("b").version
        store.activate(KIND, first)
        active = watch()
        store.activate(KIND, second)
        assert eventually(lambda: active.previous is not None)
        store.activate(KIND, first)
        flip_a_bit(version_directory(store, first) / "note.txt")
        assert eventually(lambda: active.current is not None and active.current.version == first)

    def test_readers_never_miss_a_version_during_swaps(
        self, store: ArtifactStore, publish: Publish, watch: Watch
    ) -> None:
        versions = [publish(content).version for content in ("a", "b")]
        store.activate(KIND, versions[0])
        active = watch()
        wrong: list[object] = []
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                loaded = active.current
                if loaded is None or not loaded.value.startswith(loaded.version):
                    wrong.append(loaded)

        reader = threading.Thread(target=read)
        reader.start()
        for turn in range(20):
            version = versions[(turn + 1) % 2]
            store.activate(KIND, version)
            assert eventually(partial(is_current, active, version))
        done.set()
        reader.join()
        assert wrong == []

    def test_a_corrupt_new_version_leaves_the_old_in_use(
        self, store: ArtifactStore, publish: Publish, watch: Watch
    ) -> None:
        first, second = publish("a").version, publish("b").version
        store.activate(KIND, first)
        active = watch()
        flip_a_bit(version_directory(store, second) / "note.txt")
        (Path(store.root) / KIND / "ACTIVE").write_text(second)
        assert eventually(lambda: active.refused is not None)
        assert active.refused is not None
        assert (active.refused.version, active.refused.cause) == (second, "artifact_corrupt")
        assert active.current is not None
        assert (active.current.version, active.cause) == (first, None)

    def test_a_version_that_verifies_but_does_not_load_is_refused(
        self, store: ArtifactStore, publish: Publish, watch: Watch
    ) -> None:
        store.activate(KIND, publish("a").version)
        active = watch()
        store.activate(KIND, publish("unloadable").version)
        assert eventually(lambda: active.refused is not None)
        assert active.refused is not None
        assert "this is not an index" in active.refused.message

    def test_at_start_the_last_sound_version_that_was_in_use_steps_in(
        self, store: ArtifactStore, publish: Publish, watch: Watch
    ) -> None:
        versions = [publish(content).version for content in ("a", "b", "unloadable", "d", "never activated")]
        for version in versions[:4]:
            store.activate(KIND, version)
        flip_a_bit(version_directory(store, versions[3]) / "note.txt")
        active = watch()
        assert active.current is not None
        assert (active.current.version, active.cause) == (versions[1], None)
        assert active.refused is not None
        assert active.refused.version == versions[3]

    def test_with_nothing_sound_it_says_corrupt(self, store: ArtifactStore, publish: Publish, watch: Watch) -> None:
        version = publish("a").version
        store.activate(KIND, version)
        flip_a_bit(version_directory(store, version) / "note.txt")
        active = watch()
        assert (active.current, active.cause) == (None, "artifact_corrupt")

    def test_a_new_sound_version_ends_the_trouble(self, store: ArtifactStore, publish: Publish, watch: Watch) -> None:
        version = publish("a").version
        store.activate(KIND, version)
        flip_a_bit(version_directory(store, version) / "note.txt")
        active = watch()
        store.activate(KIND, publish("b").version)
        assert eventually(lambda: active.current is not None)
        assert (active.cause, active.refused) == (None, None)

    def test_a_callback_that_fails_does_not_end_the_watching(self, store: ArtifactStore, publish: Publish) -> None:
        seen: list[str] = []

        def note_and_fail(loaded: Loaded[str]) -> None:
            seen.append(loaded.version)
            raise ValueError("mine")

        versions = [publish(content).version for content in ("a", "b")]
        active = ActiveArtifact(KIND, note, store, poll_s=0.01, on_swap=note_and_fail)
        store.activate(KIND, versions[0])
        active.start()
        assert active.wait(DEADLINE_S)
        store.activate(KIND, versions[1])
        assert eventually(lambda: seen == versions)
        active.stop()
