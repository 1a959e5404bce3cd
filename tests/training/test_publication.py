from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from artifacts.errors import ArtifactCorrupt, GateRefused
from artifacts.factors import Factors
from artifacts.manifest import ArtifactKind, Manifest, ManifestDraft
from artifacts.store import ArtifactStore
from training.arguments import job_parser
from training.publication import parent_of, put_into_use

KIND: ArtifactKind = "collaborative"


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "root"))


def flags(*arguments: str) -> argparse.Namespace:
    return job_parser("training.job", "A job.").parse_args(["--root=unused", *arguments])


def publish(store: ArtifactStore, directory: Path, *, sound: bool = True, ndcg: float = 0.2) -> Manifest:
    directory.mkdir()
    if sound:
        Factors(["u"], ["p"], np.ones((1, 2), np.float32), np.ones((1, 2), np.float32), 1.0, 1.0).save(directory)
    draft = ManifestDraft(kind=KIND, metrics={"ndcg_at_10": ndcg}, parameters={"holdout": {"share": 0.2}})
    return store.publish(directory, draft)


class TestPutIntoUse:
    def test_a_version_that_loads_is_put_into_use(self, store: ArtifactStore, tmp_path: Path) -> None:
        manifest = publish(store, tmp_path / "made")
        put_into_use(store, manifest, flags())
        assert store.active_version(KIND) == manifest.version

    def test_one_that_is_to_be_published_alone_is_not(self, store: ArtifactStore, tmp_path: Path) -> None:
        put_into_use(store, publish(store, tmp_path / "made"), flags("--no-activate"))
        assert store.active_version(KIND) is None

    def test_a_version_that_verifies_but_does_not_load_stays_out(self, store: ArtifactStore, tmp_path: Path) -> None:
        sound = publish(store, tmp_path / "sound")
        put_into_use(store, sound, flags())
        with pytest.raises(ArtifactCorrupt, match="cannot be read"):
            put_into_use(store, publish(store, tmp_path / "empty", sound=False), flags("--force"))
        assert store.active_version(KIND) == sound.version

    def test_a_worse_one_stays_out_and_the_figures_are_said(self, store: ArtifactStore, tmp_path: Path) -> None:
        good, worse = publish(store, tmp_path / "good"), publish(store, tmp_path / "worse", ndcg=0.17)
        put_into_use(store, good, flags())
        with pytest.raises(GateRefused, match=r"ndcg_at_10: 0.1700 against 0.2000 \(-15.0%\), at least 0.1900"):
            put_into_use(store, worse, flags())
        assert store.active_version(KIND) == good.version
        put_into_use(store, worse, flags("--margin=0.2"))
        assert store.active_version(KIND) == worse.version

    def test_who_knows_better_may_force_it(self, store: ArtifactStore, tmp_path: Path) -> None:
        put_into_use(store, publish(store, tmp_path / "good"), flags())
        worse = publish(store, tmp_path / "worse", ndcg=0.1)
        put_into_use(store, worse, flags("--force"))
        assert store.active_version(KIND) == worse.version
        assert "0.1000 against 0.2000" in store.history(KIND)[-1].overruled[0]


class TestParentOf:
    def test_it_is_the_version_in_use(self, store: ArtifactStore, tmp_path: Path) -> None:
        manifest = publish(store, tmp_path / "made")
        assert parent_of(store, KIND) is None
        store.activate(KIND, manifest.version)
        assert parent_of(store, KIND) == manifest.version

    def test_a_scribbled_active_file_has_none(self, store: ArtifactStore, tmp_path: Path) -> None:
        publish(store, tmp_path / "made")
        (Path(store.root) / KIND / "ACTIVE").write_text("scribbled")
        assert parent_of(store, KIND) is None
