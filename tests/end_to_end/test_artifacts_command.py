"""``shortlist artifacts`` on the stack that serves: what is activated is served, what is refused is not."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from artifacts.manifest import ArtifactKind, ManifestDraft, new_version
from artifacts.store import ArtifactStore
from cluster.child import wait_until
from tests.artifacts.test_store import flip_a_bit
from tests.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("left_well")]

KIND: ArtifactKind = "collaborative"
GIVE_UP_S = 120.0
READ = ("/v1/recommendations", {"user_id": "1", "timeout_ms": "20000"})


@pytest.fixture
def store(stack: Stack) -> Iterator[ArtifactStore]:
    """The stack's own; versions that a test adds are taken away again, and the one before is put back."""
    store = ArtifactStore(str(stack.shortlist.state.artifacts))
    active, there = store.active_version(KIND), set(store.versions(KIND))
    assert active is not None
    yield store
    if store.active_version(KIND) != active:
        store.activate(KIND, active)
    assert wait_until(lambda: served(stack) == {active}, timeout_s=GIVE_UP_S)
    for version in set(store.versions(KIND)) - there:
        shutil.rmtree(Path(store.root) / KIND / version)


def copied(store: ArtifactStore, tmp_path: Path, **metrics: float) -> str:
    """Publish the active version again, with other figures."""
    manifest = store.manifest(KIND, store.active_version(KIND) or "")
    version = new_version()
    source = tmp_path / version
    shutil.copytree(store.fetch(KIND, manifest.version), source)
    fields = {name: value for name, value in manifest if name in ManifestDraft.model_fields}
    made = {"version": version, "metrics": {**manifest.metrics, **metrics}, "parent": manifest.version}
    return store.publish(source, ManifestDraft(**(fields | made))).version


def served(stack: Stack) -> set[str]:
    document = stack.shortlist.ask("artifacts", "list", KIND)
    return set(document["graph"]["served"].get(KIND, {}))


@contextlib.contextmanager
def read_all_the_while(stack: Stack) -> Iterator[list[int]]:
    """The statuses of reads, one after the other, until the block ends."""
    statuses: list[int] = []
    ended = threading.Event()

    def read() -> None:
        with httpx.Client(base_url=stack.url, timeout=30) as client:
            while not ended.is_set():
                statuses.append(client.get(READ[0], params=READ[1]).status_code)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield statuses
    finally:
        ended.set()
        reader.join()


class TestArtifactsOfARunningStack:
    def test_what_is_activated_is_served_and_a_rollback_brings_the_old_one_back(
        self, stack: Stack, store: ArtifactStore, tmp_path: Path
    ) -> None:
        before, after = store.active_version(KIND), copied(store, tmp_path)
        with read_all_the_while(stack) as statuses:
            assert stack.shortlist.ask("artifacts", "activate", KIND, after)["compared_with"] == before
            assert wait_until(lambda: served(stack) == {after}, timeout_s=GIVE_UP_S)
            assert stack.shortlist.ask("artifacts", "rollback", KIND)["version"] == before
            assert wait_until(lambda: served(stack) == {before}, timeout_s=GIVE_UP_S)
        assert set(statuses) == {200}

    def test_a_worse_one_and_a_corrupt_one_are_refused(
        self, stack: Stack, store: ArtifactStore, tmp_path: Path
    ) -> None:
        active = store.active_version(KIND)
        worse, corrupt = copied(store, tmp_path, ndcg_at_10=0.01), copied(store, tmp_path)
        flip_a_bit(Path(store.root) / KIND / corrupt / "item_factors.npy")
        for version, reason in ((worse, "ndcg_at_10: 0.0100 against"), (corrupt, "sha256 of item_factors.npy")):
            done = stack.shortlist.run("artifacts", "activate", KIND, version)
            assert done.returncode == 10
            assert reason in done.stderr
        assert store.active_version(KIND) == active

    def test_nothing_that_is_served_is_pruned(self, stack: Stack, store: ArtifactStore) -> None:
        document = stack.shortlist.ask("artifacts", "prune", "--dry-run")
        assert document["bytes_freed"] == 0
        assert document["kinds"][KIND]["kept"][store.active_version(KIND)] == "active"

    def test_its_own_root_is_known_however_it_is_written(self, stack: Stack, store: ArtifactStore) -> None:
        written = Path(store.root) / KIND / ".."
        assert stack.shortlist.ask("artifacts", "list", "--root", str(written))["graph"]["url"] == stack.url
