from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from cluster.child import wait_until
from cluster.rebuild import BUDGET_S, PAUSE_S, SIGHTINGS_WITHIN_S, Rebuilds
from cluster.rebuild_record import Kind
from cluster.serving_artifacts import ServingArtifacts
from cluster.state_directory import StateDirectory

LOST = ServingArtifacts(unusable={"embeddings": "artifact_corrupt"})
WELL = ServingArtifacts(usable={"embeddings", "collaborative"})
GIVE_UP_S = 120.0


class Shop:
    """A state directory in which embeddings were in use once, what serving says of it, and a job that does as told."""

    def __init__(self, directory: Path) -> None:
        self.state = StateDirectory(directory)
        self.state.logs.mkdir(parents=True)
        self.seen = LOST
        self.busy = False
        self.now = 1000.0
        self.job = "pass"
        self.trained: list[Kind] = []
        self.rebuilds = Rebuilds(
            self.state,
            look=lambda: self.seen,
            busy=lambda _: self.busy,
            command=self.command,
            clock=lambda: self.now,
        )
        self.activate("v1")

    def command(self, kind: Kind) -> list[str]:
        self.trained.append(kind)
        return [sys.executable, "-c", self.job]

    def activate(self, version: str) -> None:
        directory = self.state.artifacts / "embeddings"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "ACTIVE").write_text(version)
        (directory / "history").mkdir(exist_ok=True)

    def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.now += 10
            self.rebuilds.tend()

    def follow(self) -> None:
        """Wait until the job has ended and that was seen."""
        assert wait_until(lambda: self.rebuilds.tend() or self.rebuilds.process is None, timeout_s=GIVE_UP_S)

    @property
    def conditions(self) -> list[str]:
        return [record.condition for record in self.rebuilds.records]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


class TestRebuilds:
    def test_what_is_lost_at_a_second_look_is_trained(self, shop: Shop) -> None:
        shop.look(1)
        assert shop.trained == []
        shop.look(1)
        shop.follow()
        assert (shop.trained, shop.conditions) == (["embeddings"], ["done"])
        record = shop.rebuilds.records[0]
        assert (record.kind, record.instead_of, record.cause) == ("embeddings", "v1", "artifact_corrupt")

    def test_the_job_is_the_command_that_trains(self, shop: Shop) -> None:
        """Here no stack runs, which it says."""
        rebuilds = Rebuilds(shop.state, look=lambda: LOST, busy=lambda _: False)
        rebuilds.tend()
        assert rebuilds.tend()
        assert wait_until(rebuilds.tend, timeout_s=GIVE_UP_S)
        assert "No stack runs" in str(rebuilds.records[0].error)

    def test_what_was_never_in_use_is_not_trained(self, shop: Shop) -> None:
        shutil.rmtree(shop.state.artifacts / "embeddings")
        shop.look(4)
        assert shop.trained == []

    def test_what_serving_used_was_in_use_though_every_file_of_it_is_gone(self, shop: Shop) -> None:
        shutil.rmtree(shop.state.artifacts / "embeddings")
        shop.seen = WELL
        shop.look(1)
        shop.seen = LOST
        shop.look()
        shop.follow()
        assert shop.trained == ["embeddings"]

    def test_two_looks_long_apart_are_no_loss(self, shop: Shop) -> None:
        shop.look(1)
        shop.now += SIGHTINGS_WITHIN_S
        shop.look(1)
        assert shop.trained == []

    def test_an_operators_job_is_waited_for(self, shop: Shop) -> None:
        shop.busy = True
        shop.look(4)
        assert shop.trained == []
        shop.busy = False
        shop.look(1)
        shop.follow()
        assert shop.trained == ["embeddings"]

    def test_a_failed_try_is_told_and_not_repeated_for_half_an_hour(self, shop: Shop) -> None:
        shop.job = "raise SystemExit('no space left')"
        shop.look()
        shop.follow()
        assert shop.conditions == ["failed"]
        assert "no space left" in str(shop.rebuilds.records[0].error)
        shop.look(5)
        assert len(shop.trained) == 1
        shop.now += PAUSE_S
        shop.look()
        shop.follow()
        assert len(shop.trained) == 2

    def test_another_active_version_ends_the_rest(self, shop: Shop) -> None:
        shop.job = "raise SystemExit(1)"
        shop.look()
        shop.follow()
        shop.activate("v2")
        shop.look()
        shop.follow()
        assert [record.instead_of for record in shop.rebuilds.records] == ["v1", "v2"]

    def test_a_new_version_that_serving_cannot_use_either_is_not_trained_again_at_once(self, shop: Shop) -> None:
        shop.look()
        shop.activate("v2")
        shop.follow()
        shop.look(5)
        assert len(shop.trained) == 1

    def test_what_is_lost_again_after_serving_used_it_is_trained_at_once(self, shop: Shop) -> None:
        shop.look()
        shop.follow()
        shop.seen = WELL
        shop.look(1)
        shop.seen = LOST
        shop.look()
        shop.follow()
        assert shop.conditions == ["done", "done"]

    def test_only_one_runs_at_a_time(self, shop: Shop) -> None:
        (shop.state.artifacts / "collaborative").mkdir()
        (shop.state.artifacts / "collaborative" / "HISTORY").touch()
        shop.seen = ServingArtifacts(unusable={"embeddings": "artifact_missing", "collaborative": "artifact_missing"})
        shop.look()
        assert len(shop.trained) == 1
        shop.follow()
        shop.look()
        shop.follow()
        assert sorted(shop.trained) == ["collaborative", "embeddings"]

    def test_a_job_past_its_budget_is_ended(self, shop: Shop) -> None:
        shop.job = "import time; time.sleep(600)"
        shop.look()
        shop.now += BUDGET_S + 1
        shop.follow()
        assert shop.conditions == ["failed"]
        assert "longer than 30 minutes" in str(shop.rebuilds.records[0].error)

    def test_stopping_ends_the_job(self, shop: Shop) -> None:
        shop.job = "import time; time.sleep(600)"
        shop.look()
        process = shop.rebuilds.process
        assert process is not None
        shop.rebuilds.stop()
        assert process.poll() is not None
        assert shop.conditions == ["failed"]


class TestServingArtifacts:
    def test_each_replica_asked_counts(self) -> None:
        told = ServingArtifacts.told(
            {
                "search": {"version": None, "cause": "artifact_corrupt", "refused": "index.faiss is missing"},
                "recommendation": {
                    "embeddings": {"version": "v1", "cause": None},
                    "collaborative": {"version": "v2", "cause": None},
                },
                "ranking": {"healthy": False, "cause": "unavailable"},
            }
        )
        assert told.unusable == {"embeddings": "index.faiss is missing"}
        assert told.usable == {"collaborative"}

    def test_a_replica_that_does_not_answer_has_lost_nothing(self) -> None:
        assert ServingArtifacts.told({"search": {"healthy": False, "cause": "timeout"}}) == ServingArtifacts()

    def test_nobody_there_has_lost_nothing(self) -> None:
        assert ServingArtifacts.asked("http://127.0.0.1:1") == ServingArtifacts()
