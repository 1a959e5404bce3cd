from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.errors import ArtifactStoreUnavailable
from artifacts.store import ArtifactStore
from artifacts.trials import Trial
from catalogue import encoders
from catalogue.encoders import LiveEncoders
from tests.catalogue.live_artifacts import LiveArtifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> LiveArtifacts:
    return LiveArtifacts(tmp_path)


@pytest.fixture
def live(artifacts: LiveArtifacts) -> LiveEncoders:
    return LiveEncoders(artifacts.open)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "RETRY_S", 0.0)


def names(live: LiveEncoders, *, load: bool = True) -> list[str]:
    """The encoders after a look."""
    live.look(load=load)
    return [encoder.version for encoder in live.encoders]


class TestLook:
    def test_the_active_encoder_comes_first_then_the_one_a_rollback_brings_back(
        self, artifacts: LiveArtifacts, live: LiveEncoders
    ) -> None:
        artifacts.activate("e1")
        second = artifacts.activate("e2")
        assert (names(live), live.problem) == (["e2", "e1"], None)
        artifacts.activate("e3")
        assert names(live) == ["e3", "e2"]
        artifacts.store.activate("embeddings", second)
        assert names(live) == ["e2", "e3"]

    def test_that_of_a_version_on_trial_is_among_them_while_it_is(
        self, artifacts: LiveArtifacts, live: LiveEncoders
    ) -> None:
        tried, active = artifacts.activate("e1"), artifacts.activate("e2")
        artifacts.activate("e3")
        artifacts.store.activate("embeddings", active)
        assert names(live) == ["e2", "e3"]
        trial = Trial.begun("canary", tried, 0.1)
        artifacts.store.trials("embeddings").begin(trial)
        assert names(live) == ["e2", "e1", "e3"]
        artifacts.store.trials("embeddings").end(trial.id, "by hand")
        assert names(live) == ["e2", "e3"]

    def test_after_a_rollback_it_is_the_one_before_that(self, artifacts: LiveArtifacts, live: LiveEncoders) -> None:
        first, second, _ = (artifacts.activate(name) for name in ("e1", "e2", "e3"))
        artifacts.store.activate("embeddings", second, action="rollback")
        assert names(live) == ["e2", "e1"]
        artifacts.store.activate("embeddings", first, action="rollback")
        assert names(live) == ["e1", "e2"]

    def test_versions_that_share_an_encoder_have_it_once(self, artifacts: LiveArtifacts, live: LiveEncoders) -> None:
        artifacts.activate("e1", position="5-1")
        artifacts.activate("e1", position="9-2")
        assert names(live) == ["e1"]
        assert live.encoders[0].start == "9-2"

    def test_what_is_in_memory_already_is_kept(self, artifacts: LiveArtifacts, live: LiveEncoders) -> None:
        artifacts.activate("e1")
        names(live)
        before = live.encoders[0].encoder
        artifacts.activate("e2")
        names(live)
        assert live.encoders[1].encoder is before

    def test_who_does_not_encode_loads_nothing(self, artifacts: LiveArtifacts, live: LiveEncoders) -> None:
        artifacts.activate("e1")
        assert names(live, load=False) == ["e1"]
        assert live.encoders[0].encoder is None
        names(live)
        assert live.encoders[0].encoder is not None

    def test_before_the_first_training_it_says_so(self, live: LiveEncoders) -> None:
        assert (names(live), live.problem) == ([], "no embeddings version is active; train one")

    @pytest.mark.usefixtures("_impatient")
    def test_a_version_is_taken_up_once_it_is_sound_again(self, artifacts: LiveArtifacts, live: LiveEncoders) -> None:
        artifacts.activate("e1")
        second = artifacts.activate("e2")
        artifacts.corrupt(second)
        assert names(live) == ["e1"]
        assert "sha256 of encoder.onnx differs" in str(live.problem)
        artifacts.corrupt(second)
        assert (names(live), live.problem) == (["e2", "e1"], None)

    def test_the_index_is_neither_needed_nor_looked_at(self, artifacts: LiveArtifacts, live: LiveEncoders) -> None:
        version = artifacts.activate("e1")
        assert sorted(artifacts.store.manifest("embeddings", version).files) == ["encoder.onnx", "tokenizer.json"]
        assert names(live) == ["e1"]

    def test_a_version_that_does_not_name_its_encoder_is_a_problem(
        self, artifacts: LiveArtifacts, live: LiveEncoders
    ) -> None:
        artifacts.activate(None)
        assert names(live) == []
        assert "does not name its encoder" in str(live.problem)

    def test_a_store_that_cannot_be_opened_is_asked_again(self, artifacts: LiveArtifacts) -> None:
        refusals = [ArtifactStoreUnavailable("SHORTLIST_ARTIFACTS is not set")]

        def opened() -> ArtifactStore:
            if refusals:
                raise refusals.pop()
            return artifacts.store

        live = LiveEncoders(opened)
        artifacts.activate("e1")
        assert (names(live), live.problem) == ([], "SHORTLIST_ARTIFACTS is not set")
        assert (names(live), live.problem) == (["e1"], None)
