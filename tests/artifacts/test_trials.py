"""What is on trial, on a directory and on a real S3 server; two at once, and files that are damaged."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from artifacts import gate
from artifacts.errors import ArtifactCorrupt, ArtifactMissing, GateRefused
from artifacts.manifest import ArtifactKind, new_version
from artifacts.retention import retention
from artifacts.store import ArtifactStore
from artifacts.trial_figures import TrialFigures
from artifacts.trials import Mode, Trial, TrialLog
from tests.artifacts.s3_server import CREDENTIALS, S3Server, s3_server
from tests.artifacts.versions import WRITERS

KIND: ArtifactKind = "collaborative"


def measured(figure: float) -> dict[str, object]:
    """Figures that the gate compares: measured in the same way."""
    holdout = {"share": 0.2, "at_least": 5, "by": "last of each user"}
    return {"metrics": {"ndcg_at_10": figure, "recall_at_20": figure}, "parameters": {"holdout": holdout}}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as started:
        yield started


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactStore:
    if request.param == "directory":
        return ArtifactStore(str(tmp_path / "root"))
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server: S3Server = request.getfixturevalue("server")
    return ArtifactStore(server.root(f"test-{time.monotonic_ns()}"), cache=str(tmp_path / "cache"))


@pytest.fixture
def versions(store: ArtifactStore, tmp_path: Path) -> tuple[str, str]:
    """One in use, and a better one."""
    made = []
    for ndcg in (0.19, 0.2):
        source = tmp_path / f"source-{ndcg}"
        source.mkdir()
        changes = {"version": new_version(), **measured(ndcg)}
        made.append(store.publish(source, WRITERS[KIND](source).model_copy(update=changes)).version)
    store.activate(KIND, made[0])
    return made[0], made[1]


@pytest.fixture
def trials(store: ArtifactStore) -> TrialLog:
    return store.trials(KIND)


def begun(store: ArtifactStore, version: str, mode: Mode = "shadow") -> Trial:
    trial = Trial.begun(mode, version, 0.25)
    gate.try_out(store, KIND, trial)
    return trial


class TestTrials:
    def test_one_is_in_force_from_its_beginning_to_its_end(
        self, store: ArtifactStore, trials: TrialLog, versions: tuple[str, str]
    ) -> None:
        assert trials.current() is None
        trial = begun(store, versions[1])
        assert trials.current() == trial
        assert store.on_trial(KIND) == versions[1]
        assert trials.end(trial.id, "by hand")
        assert trials.current() is None
        assert not trials.end(trial.id, "again")
        assert [(each.id, its_end.reason) for each, its_end in trials.recent() if its_end] == [(trial.id, "by hand")]

    def test_a_late_end_does_not_end_the_next_one(
        self, store: ArtifactStore, trials: TrialLog, versions: tuple[str, str]
    ) -> None:
        """Two replicas find the same canary failing; an operator has begun another one in between."""
        first = begun(store, versions[1], "canary")
        second = begun(store, versions[1], "canary")
        assert not trials.end(first.id, "errors", failed=True)
        assert trials.current() == second
        ending = trials.ending(first.id)
        assert ending is not None
        assert "took its place" in ending.reason

    def test_of_two_begun_at_once_one_is_in_force_and_both_are_written_down(
        self, store: ArtifactStore, trials: TrialLog, versions: tuple[str, str]
    ) -> None:
        with ThreadPoolExecutor(4) as threads:
            made = list(threads.map(lambda _: begun(store, versions[1]), range(8)))
        current = trials.current()
        assert current is not None
        assert current.id in {trial.id for trial in made}
        assert {trial.id for trial, _ in trials.recent()} == {trial.id for trial in made}

    def test_activating_its_version_ends_it_and_another_does_not(
        self, store: ArtifactStore, trials: TrialLog, versions: tuple[str, str]
    ) -> None:
        trial = begun(store, versions[1])
        store.activate(KIND, versions[0])
        assert trials.current() == trial
        store.activate(KIND, versions[1])
        assert trials.current() is None

    def test_its_version_is_not_removed(self, store: ArtifactStore, versions: tuple[str, str]) -> None:
        begun(store, versions[1])
        assert retention(store, KIND, served={}).keep[versions[1]] == "on trial"
        assert store.withdraw(KIND, versions[1]) is None
        assert versions[1] in store.versions(KIND)

    def test_a_version_that_is_gone_is_not_tried(
        self, store: ArtifactStore, trials: TrialLog, versions: tuple[str, str]
    ) -> None:
        withdrawn = store.withdraw(KIND, versions[1])
        assert withdrawn is not None
        with pytest.raises(ArtifactMissing):
            begun(store, versions[1])
        assert trials.current() is None

    def test_a_worse_one_is_shadowed_and_no_canary(
        self, store: ArtifactStore, trials: TrialLog, versions: tuple[str, str], tmp_path: Path
    ) -> None:
        assert versions[0] == store.active_version(KIND)
        source = tmp_path / "worse"
        source.mkdir()
        figures = {"version": new_version(), **measured(0.01)}
        worse = store.publish(source, WRITERS[KIND](source).model_copy(update=figures)).version
        with pytest.raises(GateRefused):
            begun(store, worse, "canary")
        assert trials.current() is None
        assert begun(store, worse).version == store.on_trial(KIND)

    def test_reports_of_replicas_are_kept_apart(
        self, store: ArtifactStore, trials: TrialLog, versions: tuple[str, str]
    ) -> None:
        trial = begun(store, versions[1])
        for replica, compared in (("a", 1), ("b", 2), ("a", 3)):
            trials.report(trial.id, replica, TrialFigures(compared=compared))
        assert sorted(each.compared for each in trials.reports(trial.id)) == [2, 3]


class TestDamage:
    def test_a_damaged_pointer_is_named_and_overwritten_by_the_next_trial(self, tmp_path: Path) -> None:
        store = ArtifactStore(str(tmp_path / "root"))
        source = tmp_path / "made"
        source.mkdir()
        version = store.publish(source, WRITERS[KIND](source)).version
        for content in (b"", b"{", b"\xff", b"{}"):
            (tmp_path / "root" / KIND / "TRIAL").write_bytes(content)
            with pytest.raises(ArtifactCorrupt, match="TRIAL cannot be read"):
                store.on_trial(KIND)
            assert store.withdraw(KIND, version) is None, "nobody can tell that it is not on trial"
        store.trials(KIND).begin(Trial.begun("shadow", version, 0.1))
        assert store.on_trial(KIND) == version

    def test_a_damaged_end_is_an_end(self, tmp_path: Path) -> None:
        trials = ArtifactStore(str(tmp_path)).trials(KIND)
        trial = Trial.begun("canary", new_version(), 0.1)
        trials.begin(trial)
        (tmp_path / KIND / "trials" / f"{trial.id}.ended.json").write_bytes(b"{")
        assert trials.current() is None
