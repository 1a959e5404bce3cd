"""``shortlist artifacts shadow``, ``canary``, ``trial`` and ``end`` on a store of its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.store import ArtifactStore
from artifacts.trial_figures import TrialFigures, compared
from tests.artifacts.test_store import flip_a_bit
from tests.cluster.artifact_shop import ACTIVE, BEFORE, KIND, WORSE, Answer, fill, in_process

Run = Callable[..., Answer]


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return fill(tmp_path / "artifacts", tmp_path / "sources")


@pytest.fixture
def run(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Run:
    """The command below ``shortlist artifacts``, with no stack and the store in the environment."""
    for name in [name for name in os.environ if name.startswith("SHORTLIST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SHORTLIST_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("SHORTLIST_ARTIFACTS", store.root)
    return lambda *arguments: in_process(monkeypatch, capsys, "artifacts", *arguments)


class TestBegin:
    def test_a_shadow_is_marked_in_the_list_and_ends(self, run: Run, store: ArtifactStore) -> None:
        document = run("shadow", KIND, WORSE, "--json").document
        assert (document["trial"]["mode"], document["trial"]["share"]) == ("shadow", 0.05)
        assert document["compared_with"] == ACTIVE
        assert run("list", KIND, "--json").document["kinds"][KIND]["on_trial"] == WORSE
        assert any(line.startswith("~") and WORSE in line for line in run("list", KIND).out.splitlines())
        assert "stays: on trial" in run("prune").err
        assert run("end", KIND).code == 0
        assert store.trials(KIND).current() is None
        assert run("end", KIND).code == 2

    def test_a_canary_of_a_worse_one_is_refused_unless_forced(self, run: Run, store: ArtifactStore) -> None:
        done = run("canary", KIND, WORSE)
        assert done.code == 10
        assert "ndcg_at_10: 0.1702 against 0.1956" in done.err
        assert store.trials(KIND).current() is None
        assert run("canary", KIND, WORSE, "--share", "0.2", "--force").code == 0
        current = store.trials(KIND).current()
        assert current is not None
        assert (current.mode, current.share) == ("canary", 0.2)

    def test_what_cannot_be_tried_is_said(self, run: Run, store: ArtifactStore) -> None:
        assert "is the active version" in run("shadow", KIND, ACTIVE).err
        assert "one table in Postgres" in run("shadow", "popularity", ACTIVE).err
        assert "try embeddings that were made with it" in run("trial", "encoder").err
        assert "There is no collaborative 20251122T030220Z-ffffff" in run("canary", KIND, "20251122T030220Z-ffffff").err
        assert run("canary", KIND, BEFORE, "--share", "1.5").code == 2
        flip_a_bit(Path(store.root) / KIND / WORSE / "item_factors.npy")
        done = run("shadow", KIND, WORSE)
        assert done.code == 10
        assert "sha256 of item_factors.npy differs" in done.err
        assert store.trials(KIND).current() is None


class TestTrial:
    def test_what_replicas_saw_is_added_up(self, run: Run, store: ArtifactStore) -> None:
        trial_id = run("shadow", KIND, WORSE, "--json").document["trial"]["id"]
        assert "no replica has reported anything" in run("trial", KIND).out
        for replica, other in (("r1", ["a", "b"]), ("r2", ["b", "a"])):
            figures = TrialFigures()
            figures.active.add(2.0, failed=False)
            figures.trial.add(4.0, failed=False)
            figures.add(compared(["a", "b"], [0.9, 0.8], other, [0.7, 0.6]))
            store.trials(KIND).report(trial_id, replica, figures)
        document = run("trial", KIND, "--json").document
        assert (document["in_force"], document["replicas"], document["figures"]["compared"]) == (True, 2, 2)
        assert document["figures"]["rank_correlation"] == 0.0
        assert document["figures"]["score_shift"] == -0.2
        shown = run("trial", KIND).out
        assert f"{KIND} {WORSE}: shadow, 0.05 of requests, since" in shown
        assert "overlap at 10" in shown

    def test_the_last_one_is_shown_after_its_end_and_why_it_ended(self, run: Run, store: ArtifactStore) -> None:
        assert "no version was tried yet" in run("trial", KIND).out
        run("shadow", KIND, WORSE)
        run("canary", KIND, WORSE, "--force")
        current = store.trials(KIND).current()
        assert current is not None
        store.trials(KIND).end(current.id, "5 of 5 requests failed", failed=True)
        document = run("trial", KIND, "--json").document
        assert (document["in_force"], document["ending"]["failed"]) == (False, True)
        assert "took its place" in document["earlier"][0]["ending"]["reason"]
        assert "5 of 5 requests failed" in run("trial", KIND).out

    def test_a_damaged_pointer_is_said(self, run: Run, store: ArtifactStore) -> None:
        (Path(store.root) / KIND / "TRIAL").write_text("{")
        assert "TRIAL cannot be read" in run("trial", KIND).err
        assert "TRIAL cannot be read" in run("list", KIND).err
        assert run("shadow", KIND, WORSE).code == 0
        assert store.on_trial(KIND) == WORSE
