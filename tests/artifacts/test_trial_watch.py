from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from artifacts.factors import Factors
from artifacts.manifest import ArtifactKind, new_version
from artifacts.store import ArtifactStore
from artifacts.trial_figures import TrialFigures
from artifacts.trial_watch import TrialArtifact
from artifacts.trials import Trial
from tests.artifacts.test_active import eventually
from tests.artifacts.test_store import flip_a_bit
from tests.artifacts.versions import write_factors

KIND: ArtifactKind = "collaborative"
Publish = Callable[[], str]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "root"))


@pytest.fixture
def publish(store: ArtifactStore, tmp_path: Path) -> Publish:
    def publish_one() -> str:
        version = new_version()
        source = tmp_path / version
        source.mkdir()
        return store.publish(source, write_factors(source).model_copy(update={"version": version})).version

    return publish_one


@pytest.fixture
def watched(store: ArtifactStore) -> Iterator[TrialArtifact[Factors]]:
    watched = TrialArtifact(KIND, Factors.load, store, replica="r1", poll_s=0.01, report_s=0.0)
    watched.start()
    yield watched
    watched.stop()


def begin(store: ArtifactStore, version: str) -> Trial:
    trial = Trial.begun("canary", version, 0.5)
    store.trials(KIND).begin(trial)
    return trial


class TestTrialArtifact:
    def test_a_version_is_held_while_it_is_on_trial(
        self, store: ArtifactStore, publish: Publish, watched: TrialArtifact[Factors]
    ) -> None:
        trial = begin(store, publish())
        assert eventually(lambda: watched.current is not None)
        assert watched.current is not None
        assert (watched.current.trial, watched.current.loaded.value.user_ids) == (trial, ["u"])
        store.trials(KIND).end(trial.id, "by hand")
        assert eventually(lambda: watched.current is None)
        assert watched.ended == 0

    def test_one_that_is_damaged_ends_its_trial_and_says_why(
        self, store: ArtifactStore, publish: Publish, watched: TrialArtifact[Factors]
    ) -> None:
        version = publish()
        flip_a_bit(Path(store.root) / KIND / version / "item_factors.npy")
        trial = begin(store, version)
        assert eventually(lambda: store.trials(KIND).current() is None)
        ending = store.trials(KIND).ending(trial.id)
        assert ending is not None
        assert ending.failed
        assert "sha256 of item_factors.npy" in ending.reason
        assert (watched.current, watched.ended) == (None, 1)

    def test_one_that_fails_is_let_go_of_at_once_and_the_next_is_taken_up(
        self, store: ArtifactStore, publish: Publish, watched: TrialArtifact[Factors]
    ) -> None:
        version = publish()
        first = begin(store, version)
        assert eventually(lambda: watched.current is not None)
        watched.fail(first, "5 of 5 requests failed")
        assert watched.current is None
        assert eventually(lambda: store.trials(KIND).ending(first.id) is not None)
        second = begin(store, version)
        assert eventually(lambda: watched.current is not None and watched.current.trial == second)

    def test_the_active_version_is_not_on_trial(
        self, store: ArtifactStore, publish: Publish, watched: TrialArtifact[Factors]
    ) -> None:
        tried, other = publish(), publish()
        begin(store, tried)
        assert eventually(lambda: watched.current is not None)
        (Path(store.root) / KIND / "ACTIVE").write_text(tried)
        begin(store, tried)
        assert eventually(lambda: watched.current is None)
        (Path(store.root) / KIND / "ACTIVE").write_text(other)
        assert eventually(lambda: watched.current is not None)

    def test_a_damaged_pointer_is_no_trial_and_the_watch_goes_on(
        self, store: ArtifactStore, publish: Publish, watched: TrialArtifact[Factors]
    ) -> None:
        version = publish()
        begin(store, version)
        assert eventually(lambda: watched.current is not None)
        (Path(store.root) / KIND / "TRIAL").write_text("{")
        assert eventually(lambda: watched.current is None)
        begin(store, version)
        assert eventually(lambda: watched.current is not None)
        assert watched.alive

    def test_what_is_seen_is_reported(
        self, store: ArtifactStore, publish: Publish, watched: TrialArtifact[Factors]
    ) -> None:
        trial, figures = begin(store, publish()), TrialFigures()
        watched.reporting(lambda: (trial.id, figures))
        for count in (1, 2):
            figures.compared = count
            assert eventually(lambda: [each.compared for each in store.trials(KIND).reports(trial.id)] == [count])  # noqa: B023

    def test_a_mode_that_is_not_wanted_is_not_loaded(self, store: ArtifactStore, publish: Publish) -> None:
        shadows = TrialArtifact(KIND, Factors.load, store, replica="r1", modes=["shadow"], poll_s=0.01)
        begin(store, publish())
        shadows._look()
        assert shadows.current is None
