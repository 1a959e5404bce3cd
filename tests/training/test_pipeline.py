from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from artifacts.store import ArtifactStore
from tests.evaluation.made_up_answers import clicked_answers, config_of
from tests.training.answer_rows import log_answers
from tests.training.conftest import Fetch
from tests.training.snapshots import EVENTS, MANY, USERS
from training.pipeline import as_table, chosen
from training.pipeline_steps import NAMES, STEPS, Step, StepResult
from training.snapshot_store import SnapshotStore

ROOT = Path(__file__).parents[2]
SHORT = ("--only=snapshot", "--only=popularity")


class Pipeline:
    """The command over one database and one artifact root."""

    def __init__(self, environment: dict[str, str], root: Path) -> None:
        self.environment = environment
        self.root = root
        self.store = ArtifactStore(str(root))

    def run(self, *flags: str) -> tuple[int, dict[str, str], str]:
        """The exit code, how each step ended, and all that was said."""
        done = subprocess.run(
            [sys.executable, "-m", "training.pipeline", *flags],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        last: dict[str, Any] = {}
        for line in done.stdout.splitlines():
            if line.startswith('{"kind": "pipeline"'):
                last = json.loads(line)
        return done.returncode, {each["step"]: each["outcome"] for each in last.get("steps", [])}, done.stdout


@pytest.fixture
def pipeline(database_url: str, fetch: Fetch, tmp_path: Path) -> Pipeline:
    for statement in (MANY, EVENTS, USERS):
        fetch(statement)
    settings = {
        "SHORTLIST_DATABASE_URL": database_url,
        "SHORTLIST_REPLICA_URLS": "",
        "SHORTLIST_ARTIFACTS": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }
    return Pipeline(dict(os.environ) | settings, tmp_path)


class TestPipeline:
    def test_what_is_up_to_date_stays_as_it_is(self, pipeline: Pipeline, fetch: Fetch) -> None:
        code, outcomes, said = pipeline.run(*SHORT)
        assert (code, outcomes) == (0, {"snapshot": "made", "popularity": "made"}), said
        version = pipeline.store.active_version("popularity") or ""
        (taken,) = SnapshotStore(str(pipeline.root)).versions()
        assert f"popularity: counting {taken}" in said
        assert len(pipeline.store.manifest("popularity", version).parameters["made_from"]) == 64

        code, outcomes, said = pipeline.run(*SHORT)
        assert (code, outcomes) == (0, {"snapshot": "up to date", "popularity": "up to date"}), said
        assert pipeline.store.versions("popularity") == [version]

        fetch("insert into events (id, user_id, product_id, type, occurred_at) values ('x', 'u', 'p1', 'view', now())")
        fetch("update products set price = 3 where id = 'p2'")
        config = pipeline.root / "pipeline.yaml"
        config.write_text("snapshot: {partition: day}\npopularity:\n  half_life_days: 9\n")
        code, outcomes, said = pipeline.run(*SHORT, f"--config={config}")
        assert (code, outcomes) == (0, {"snapshot": "made", "popularity": "made"}), said
        version = pipeline.store.active_version("popularity") or ""
        assert pipeline.store.manifest("popularity", version).parameters["half_life_days"] == 9

    def test_a_failed_step_keeps_back_those_that_need_it(self, pipeline: Pipeline) -> None:
        config = pipeline.root / "pipeline.yaml"
        config.write_text("snapshot: {strict: true, unknown_products: 0}\n")
        code, outcomes, said = pipeline.run(*SHORT, f"--config={config}")
        assert (code, outcomes) == (1, {"snapshot": "failed", "popularity": "not run"})
        assert "needs snapshot" in said
        assert "The report has an alarm" in said
        assert pipeline.store.active_version("popularity") is None

    def test_wrong_flags_are_found_before_anything_runs(self, pipeline: Pipeline) -> None:
        config = pipeline.root / "pipeline.yaml"
        config.write_text("popularity: {half_life_days: -1}\n")
        code, outcomes, said = pipeline.run(*SHORT, f"--config={config}")
        assert (code, outcomes) == (1, {})
        assert "Nothing was run. popularity: argument --half-life-days: -1 is not a number above 0" in said
        config.write_text("popularity: {half_life: 3}\n")
        assert (
            "Nothing was run. popularity: there is no flag half_life; known are"
            in pipeline.run(*SHORT, f"--config={config}")[2]
        )
        assert SnapshotStore(str(pipeline.root)).versions() == []

    def test_weights_are_fitted_only_with_clicks_and_only_when_these_change(
        self, pipeline: Pipeline, database_url: str
    ) -> None:
        code, outcomes, said = pipeline.run("--only=weights")
        assert (code, outcomes) == (0, {"weights": "skipped"}), said
        assert "No event names the answer that it followed" in said

        log_answers(database_url, clicked_answers(config_of(0.1, 0.7, 0.1, 0.1), count=1000))
        for expected in ("made", "up to date"):
            code, outcomes, said = pipeline.run("--only=weights")
            assert (code, outcomes) == (0, {"weights": expected}), said
        assert len(list((pipeline.root / "weights").iterdir())) == 1

        other = pipeline.root / "serve.yaml"
        other.write_text("weights: {search: 0.3, cf: 0.3, popularity: 0.3, freshness: 0.1}\n")
        code, outcomes, said = pipeline.run("--only=weights", f"--serve-file={other}")
        assert (code, outcomes) == (0, {"weights": "made"}), said

    def test_told_to_end_it_ends_the_job_that_runs(self, tmp_path: Path) -> None:
        """As Ray ends a job. A database that takes connections and says nothing keeps the snapshot busy."""
        with socket.create_server(("127.0.0.1", 0)) as deaf:
            settings = {
                "SHORTLIST_DATABASE_URL": f"postgresql://somebody@127.0.0.1:{deaf.getsockname()[1]}/x",
                "SHORTLIST_REPLICA_URLS": "",
                "SHORTLIST_ARTIFACTS": str(tmp_path),
            }
            with subprocess.Popen(
                [sys.executable, "-m", "training.pipeline", *SHORT],
                cwd=ROOT,
                env=os.environ | settings,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ) as job:
                # Once somebody connects the snapshot is under way.
                accepted, _ = deaf.accept()
                children = psutil.Process(job.pid).children(recursive=True)
                assert children
                job.terminate()
                assert job.wait(timeout=60) != 0
                accepted.close()
            gone, alive = psutil.wait_procs(children, timeout=60)
            assert (len(gone), alive) == (len(children), [])


class TestChosen:
    def test_all_in_order_of_dependency(self) -> None:
        steps = chosen(None, None, direct=False, wanted=NAMES)
        assert [step.name for step in steps] == list(NAMES)
        for number, step in enumerate(STEPS):
            assert set(step.needs) <= set(NAMES[:number])

    def test_some_of_them(self) -> None:
        assert [step.name for step in chosen(["collaborative", "popularity"], None, direct=False)] == [
            "popularity",
            "collaborative",
        ]
        assert [step.name for step in chosen(None, "embeddings", direct=False)] == [
            "embeddings",
            "collaborative",
            "weights",
        ]
        unasked = [step.name for step in chosen(None, None, direct=True)]
        assert not {"snapshot", "encoder"} & {*unasked}

    def test_an_opt_in_step_runs_where_the_file_or_a_flag_names_it(self) -> None:
        steps = (Step("snapshot"), Step("encoder", opt_in=True), Step("embeddings"))

        def names(only: list[str] | None = None, first: str | None = None, wanted: tuple[str, ...] = ()) -> list[str]:
            return [step.name for step in chosen(only, first, direct=False, wanted=wanted, steps=steps)]

        assert names() == ["snapshot", "embeddings"]
        assert names(wanted=("encoder",)) == ["snapshot", "encoder", "embeddings"]
        assert names(first="encoder") == ["encoder", "embeddings"]
        assert names(only=["encoder"]) == ["encoder"]


class TestAsTable:
    def test_each_step_has_a_line(self) -> None:
        results = [
            StepResult("snapshot", "made", 2.0, {"version": "v1"}),
            StepResult("embeddings", "failed", 1.25, note="no room"),
        ]
        assert as_table(results).splitlines() == [
            "step        outcome  version  seconds",
            "snapshot    made     v1       2.0",
            "embeddings  failed   -        1.2      no room",
        ]
