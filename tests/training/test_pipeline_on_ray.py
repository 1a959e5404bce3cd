"""The whole pipeline on a real cluster, with the real encoder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.store import ArtifactStore
from evaluation.training_cluster import training_cluster
from tests.training.conftest import Fetch
from tests.training.snapshots import EVENTS, MANY, USERS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.long


class TestPipeline:
    def test_all_jobs_run_once_and_then_all_is_up_to_date(
        self, database_url: str, fetch: Fetch, tmp_path: Path
    ) -> None:
        for statement in (MANY, EVENTS, USERS):
            fetch(statement)
        config = tmp_path / "pipeline.yaml"
        config.write_text(
            "collaborative: {factors: 4, iterations: 2, cpus: 1}\nembeddings: {checked: 20, threads: 1}\n"
        )
        with training_cluster(cpus=2, store_bytes=100_000_000) as cluster:
            environment = cluster.environment | {
                "SHORTLIST_DATABASE_URL": database_url,
                "SHORTLIST_REPLICA_URLS": "",
                "SHORTLIST_ARTIFACTS": str(tmp_path / "artifacts"),
            }
            first, again = (ended(environment, f"--config={config}") for _ in range(2))
        jobs = ("snapshot", "popularity", "embeddings", "collaborative")
        assert first == {**dict.fromkeys(jobs, "made"), "weights": "skipped"}
        assert again == {**dict.fromkeys(jobs, "up to date"), "weights": "skipped"}
        store = ArtifactStore(str(tmp_path / "artifacts"))
        version = store.active_version("collaborative") or ""
        source = store.manifest("collaborative", version).parameters["interactions"]["source"]
        assert source.startswith("snapshots/")

    def test_a_step_that_fails_leaves_the_others_alone(self, database_url: str, fetch: Fetch, tmp_path: Path) -> None:
        """There is no cluster: factors cannot be fitted, popularity can be counted."""
        for statement in (MANY, EVENTS, USERS):
            fetch(statement)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
            "SHORTLIST_DATABASE_URL": database_url,
            "SHORTLIST_REPLICA_URLS": "",
            "SHORTLIST_ARTIFACTS": str(tmp_path),
            "RAY_ADDRESS": "127.0.0.1:1",
            "PYTHONPATH": str(ROOT),
        }
        only = [f"--only={name}" for name in ("snapshot", "popularity", "embeddings", "collaborative")]
        outcomes = ended(environment, *only, code=1)
        assert outcomes == {"snapshot": "made", "popularity": "made", "embeddings": "failed", "collaborative": "failed"}


def ended(environment: dict[str, str], *flags: str, code: int = 0) -> dict[str, str]:
    """How each step ended, as the table at the end says."""
    done = subprocess.run(
        [sys.executable, "-m", "training.pipeline", *flags],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout[-4000:] + done.stderr
    lines = done.stdout.splitlines()
    table = lines[next(number for number, line in enumerate(lines) if line.startswith("step ")) + 1 : -1]
    return {line.split()[0]: "up to date" if " up to date " in line else line.split()[1] for line in table}
