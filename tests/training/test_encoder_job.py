"""The encoder job as a Ray Train run on a real cluster, with the real model."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.encoder import OnnxEncoder
from artifacts.store import ArtifactStore
from cluster.child import wait_until
from evaluation.training_cluster import TrainingCluster, training_cluster
from tests.training.test_jobs import a_worker_of
from tests.training.text_pairs import two_languages

ROOT = Path(__file__).parents[2]
FLAGS = ["--batch=16", "--cpus=1", "--rate=1e-4", "--holdout=0.2"]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cluster() -> Iterator[TrainingCluster]:
    with training_cluster(cpus=2, store_bytes=100_000_000) as started:
        yield started


def started(cluster: TrainingCluster, root: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "training.encoder", f"--root={root}", *FLAGS, *flags],
        cwd=ROOT,
        env=cluster.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(job: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    """The last line of a job that ends well, and all that it said."""
    said, _ = job.communicate(timeout=600)
    assert job.returncode == 0, said
    last: dict[str, Any] = json.loads([line for line in said.splitlines() if line.startswith("{")][-1])
    return last, said


def steps_saved(root: Path) -> int:
    """After how many steps the newest checkpoint was made; 0 without one."""
    found = [json.loads(path.read_text())["step"] for path in root.glob("runs/encoder/*/checkpoint_*/progress.json")]
    return max(found, default=0)


class TestEncoderJob:
    def test_two_workers_learn_what_a_catalogue_means_and_it_is_taken_into_use(
        self, cluster: TrainingCluster, tmp_path: Path
    ) -> None:
        pairs = two_languages(tmp_path / "pairs.parquet")
        flags = [f"--pairs={pairs}", "--workers=2", "--steps=20", "--check-every=10", "--if-changed"]
        last, _ = ended(started(cluster, tmp_path, *flags))
        assert last["metrics"]["ndcg_at_10_base"] < 0.1 < last["metrics"]["ndcg_at_10"]
        store = ArtifactStore(str(tmp_path))
        assert store.active_version("encoder") == last["version"]
        manifest = store.manifest("encoder", last["version"])
        assert {"model/config.json", "encoder.onnx", "tokenizer.json"} <= manifest.files.keys()
        assert OnnxEncoder(store.fetch("encoder", last["version"])).dim == manifest.dim
        assert not list((tmp_path / "runs" / "encoder").iterdir())

        again, _ = ended(started(cluster, tmp_path, *flags))
        assert (again["version"], again["changed"]) == (last["version"], False)

    def test_one_that_is_no_better_is_refused_with_both_figures(self, cluster: TrainingCluster, tmp_path: Path) -> None:
        pairs = two_languages(tmp_path / "pairs.parquet", related=False)
        job = started(cluster, tmp_path, f"--pairs={pairs}", "--steps=20", "--check-every=10", "--least-gain=0.1")
        said, _ = job.communicate(timeout=600)
        assert job.returncode == 1, said
        assert "QualityTooLow: The tuned encoder is not kept: " in said
        assert "base model" in said
        assert ArtifactStore(str(tmp_path)).versions("encoder") == []

    def test_a_worker_that_is_killed_costs_the_steps_since_the_last_checkpoint(
        self, cluster: TrainingCluster, tmp_path: Path
    ) -> None:
        pairs = two_languages(tmp_path / "pairs.parquet")
        flags = [f"--pairs={pairs}", "--workers=2", "--steps=40", "--check-every=5", "--patience=20"]
        job = started(cluster, tmp_path, *flags)
        assert wait_until(lambda: steps_saved(tmp_path) >= 10, timeout_s=120)
        a_worker_of(cluster).kill()
        last, said = ended(job)
        assert "going on after step" in said
        assert last["metrics"]["ndcg_at_10"] > 0.1

    def test_a_job_that_is_killed_goes_on_with_its_run(self, cluster: TrainingCluster, tmp_path: Path) -> None:
        pairs = two_languages(tmp_path / "pairs.parquet")
        flags = [f"--pairs={pairs}", "--workers=2", "--steps=40", "--check-every=5", "--patience=20"]
        job = started(cluster, tmp_path, *flags)
        assert wait_until(lambda: steps_saved(tmp_path) >= 10, timeout_s=120)
        job.send_signal(signal.SIGKILL)
        job.communicate()
        last, said = ended(started(cluster, tmp_path, *flags))
        assert "going on after step" in said
        assert last["metrics"]["ndcg_at_10"] > 0.1
