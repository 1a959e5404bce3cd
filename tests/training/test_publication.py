from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artifacts.errors import ArtifactCorrupt
from artifacts.factors import Factors
from artifacts.manifest import Manifest, ManifestDraft
from artifacts.store import ArtifactStore
from training.publication import activate_if_it_loads, parent_of


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "root"))


def publish(store: ArtifactStore, directory: Path, *, sound: bool) -> Manifest:
    directory.mkdir()
    if sound:
        Factors(["u"], ["p"], np.ones((1, 2), np.float32), np.ones((1, 2), np.float32), 1.0, 1.0).save(directory)
    return store.publish(directory, ManifestDraft(kind="collaborative"))


def load(directory: Path, _: Manifest) -> Factors:
    return Factors.load(directory)


class TestActivateIfItLoads:
    def test_a_version_that_loads_is_put_into_use(self, store: ArtifactStore, tmp_path: Path) -> None:
        manifest = publish(store, tmp_path / "made", sound=True)
        activate_if_it_loads(store, manifest, load)
        assert store.active_version("collaborative") == manifest.version

    def test_a_version_that_verifies_but_does_not_load_stays_out(self, store: ArtifactStore, tmp_path: Path) -> None:
        sound = publish(store, tmp_path / "sound", sound=True)
        store.activate("collaborative", sound.version)
        with pytest.raises(ArtifactCorrupt, match="cannot be read"):
            activate_if_it_loads(store, publish(store, tmp_path / "empty", sound=False), load)
        assert store.active_version("collaborative") == sound.version


class TestParentOf:
    def test_it_is_the_version_in_use(self, store: ArtifactStore, tmp_path: Path) -> None:
        manifest = publish(store, tmp_path / "made", sound=True)
        assert parent_of(store, "collaborative") is None
        store.activate("collaborative", manifest.version)
        assert parent_of(store, "collaborative") == manifest.version

    def test_a_scribbled_active_file_has_none(self, store: ArtifactStore, tmp_path: Path) -> None:
        publish(store, tmp_path / "made", sound=True)
        (Path(store.root) / "collaborative" / "ACTIVE").write_text("scribbled")
        assert parent_of(store, "collaborative") is None
