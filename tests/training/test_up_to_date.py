from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts import gate
from artifacts.manifest import ArtifactKind
from artifacts.store import ArtifactStore
from tests.artifacts.versions import WRITERS
from training.up_to_date import MADE_FROM, current

KIND: ArtifactKind = "popularity"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.fixture
def in_use(store: ArtifactStore, tmp_path: Path) -> Callable[[str], str]:
    """Publish a version that was made from something, and put it into use."""

    def make(origin: str) -> str:
        source = tmp_path / origin
        source.mkdir()
        draft = WRITERS[KIND](source).model_copy(update={"parameters": {MADE_FROM: origin}})
        version = store.publish(source, draft).version
        gate.activate(store, KIND, version)
        return version

    return make


def kept(store: ArtifactStore, origin: str) -> str | None:
    found = current(store, KIND, origin)
    return None if found is None else found.version


class TestCurrent:
    def test_it_is_the_version_that_was_made_from_the_same(
        self, store: ArtifactStore, in_use: Callable[[str], str]
    ) -> None:
        assert kept(store, "monday") is None
        version = in_use("monday")
        assert kept(store, "monday") == version
        assert kept(store, "tuesday") is None

    def test_what_was_rolled_back_is_not_made_again(self, store: ArtifactStore, in_use: Callable[[str], str]) -> None:
        first, _, _ = in_use("monday"), in_use("tuesday"), in_use("wednesday")
        gate.roll_back(store, KIND, store.in_use_before(KIND)[0])
        gate.roll_back(store, KIND, first)
        assert kept(store, "wednesday") == first
        assert kept(store, "tuesday") == first
        assert kept(store, "thursday") is None

    def test_a_later_activation_is_a_new_beginning(self, store: ArtifactStore, in_use: Callable[[str], str]) -> None:
        first, _ = in_use("monday"), in_use("tuesday")
        gate.roll_back(store, KIND, first)
        in_use("wednesday")
        assert kept(store, "tuesday") is None
