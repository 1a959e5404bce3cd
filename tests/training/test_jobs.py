"""The collaborative job as a Ray Train run on a real cluster of its own."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs as arrow_fs

from artifacts.factors import Factors
from artifacts.manifest import Manifest
from artifacts.store import ArtifactStore
from cluster.child import wait_until
from evaluation.metrics import SparseMatrix
from evaluation.training_cluster import TrainingCluster, training_cluster
from tests.artifacts.s3_server import CREDENTIALS, s3_server
from tests.training.conftest import Fetch
from tests.training.made_up import tastes
from training.als import AlsSettings, fit_factors

ROOT = Path(__file__).parents[2]
USERS, ITEMS = 24, 24
TOLERANCE = 1e-5
"""Of a factor, against the largest: what several workers may change by rounding."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[TrainingCluster]:
    """Its workers may write to the object store of a test: they have the environment of the cluster."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with training_cluster(cpus=4, store_bytes=100_000_000) as started:
            yield started


def written(matrix: SparseMatrix, path: Path) -> str:
    """A matrix as the parquet that the job reads; ids sort like rows."""
    users, items = matrix.nonzero()
    columns = {"user_id": [f"u{row:05}" for row in users], "product_id": [f"p{row:05}" for row in items]}
    pq.write_table(pa.table(columns), path)
    return str(path)


def published(root: Path) -> tuple[Manifest, Factors]:
    """The active version below *root*."""
    store = ArtifactStore(str(root))
    version = store.active_version("collaborative") or ""
    return store.manifest("collaborative", version), Factors.load(store.fetch("collaborative", version))


def assert_equal_within_rounding(factors: Factors, matrix: SparseMatrix, settings: AlsSettings) -> None:
    for fitted, expected in zip(
        (factors.user_factors, factors.item_factors), fit_factors(matrix, settings), strict=True
    ):
        assert np.abs(fitted - expected).max() <= TOLERANCE * np.abs(expected).max()


# The demo of each whole stack runs the job too; tests/training/test_als.py says what it finds.
@pytest.mark.long
class TestCollaborativeJob:
    def test_events_become_an_active_version(
        self, cluster: TrainingCluster, database_url: str, fetch: Fetch, tmp_path: Path
    ) -> None:
        """Users and items of two kinds: everybody cares for their own kind, but for one withheld item."""
        fetch("insert into products (id, title) select 'p' || n, 'product' from generate_series(0, $1) as n", ITEMS - 1)
        fetch(
            """
            insert into events (id, user_id, product_id, type, occurred_at)
            select u || '-' || p, 'u' || u, 'p' || p, 'purchase', timestamptz '2026-03-01' + interval '1 hour' * (u * p)
            from generate_series(0, $1) as u, generate_series(0, $2) as p
            where (u + p) % 2 = 0 and u != p
            """,
            USERS - 1,
            ITEMS - 1,
        )
        settings = {
            "SHORTLIST_DATABASE_URL": database_url,
            "SHORTLIST_REPLICA_URLS": "",
            "SHORTLIST_ARTIFACTS": str(tmp_path),
        }
        job = TrainingCluster(cluster.environment | settings)
        last_line, _ = job.run("training.collaborative", ["--factors=2", "--alpha=10", "--regularization=0.01"])
        manifest, factors = published(tmp_path)
        scores = factors.user_factors @ factors.item_factors.T
        own_kind = np.array([[(int(u[1:]) + int(p[1:])) % 2 == 0 for p in factors.item_ids] for u in factors.user_ids])

        assert (last_line["version"], last_line["counts"]) == (
            manifest.version,
            {"users": USERS, "items": ITEMS, "interactions": USERS * ITEMS // 2 - USERS},
        )
        assert scores[own_kind].min() > scores[~own_kind].max()
        assert manifest.metrics["ndcg_at_10"] > manifest.metrics["popularity_ndcg_at_10"]
        assert manifest.parameters["cf_transform"]["kind"] == "logistic"
        assert list((tmp_path / "runs" / "collaborative").iterdir()) == []

    def test_a_search_keeps_its_log_and_the_best_settings_are_fitted(
        self, cluster: TrainingCluster, tmp_path: Path
    ) -> None:
        matrix = tastes(300, 120, 12)
        config = tmp_path / "settings.yaml"
        config.write_text(
            "holdout: random\ntune: 3\nbaselines: true\niterations: 3\n"
            "search:\n  factors: [4, 8]\n  iterations: [2, 3]\n  alpha: {low: 1, high: 20}\n"
        )
        path = written(matrix, tmp_path / "interactions.parquet")
        cluster.run(
            "training.collaborative",
            [f"--interactions={path}", f"--root={tmp_path / 'artifacts'}", f"--config={config}", "--cpus=1"],
        )
        manifest, factors = published(tmp_path / "artifacts")
        directory = ArtifactStore(str(tmp_path / "artifacts")).fetch("collaborative", manifest.version)
        log = json.loads((directory / "search.json").read_text(encoding="utf-8"))
        assert len(log) == 3
        assert {name: log[0][name] for name in ("factors", "alpha", "regularization", "iterations")}.items() <= (
            manifest.parameters["als"].items()
        )
        assert manifest.metrics["ndcg_at_20"] == log[0]["ndcg_at_20"] == max(trial["ndcg_at_20"] for trial in log)
        assert manifest.metrics["ndcg_at_20"] > manifest.metrics["popularity_ndcg_at_20"]
        assert {"item_knn_ndcg_at_20", "bpr_ndcg_at_20"} <= manifest.metrics.keys()
        assert_equal_within_rounding(factors, matrix, AlsSettings(**manifest.parameters["als"]))

    def test_several_workers_share_the_interactions_and_agree_with_one(
        self, cluster: TrainingCluster, tmp_path: Path
    ) -> None:
        matrix, settings = tastes(900, 300, 15), AlsSettings(factors=16, alpha=5.0, iterations=4)
        path = written(matrix, tmp_path / "interactions.parquet")
        flags = [f"--root={tmp_path}", "--holdout=none", "--factors=16", "--alpha=5", "--iterations=4"]
        cluster.run("training.collaborative", [f"--interactions={path}", *flags, "--workers=3", "--cpus=1"])
        manifest, factors = published(tmp_path)
        shares = [worker["interactions"] for worker in manifest.parameters["workers"]]
        assert len(shares) == 3
        assert sum(share["users"] for share in shares) == sum(share["items"] for share in shares) == matrix.nnz
        assert max(share["users"] for share in shares) < 0.5 * matrix.nnz
        assert max(share["items"] for share in shares) < 0.7 * matrix.nnz
        assert_equal_within_rounding(factors, matrix, settings)

    @pytest.mark.parametrize("workers", [1, 2])
    def test_a_worker_that_is_killed_costs_the_rounds_since_the_last_checkpoint(
        self, cluster: TrainingCluster, tmp_path: Path, workers: int
    ) -> None:
        matrix = tastes(4000, 1000, 20)
        settings = AlsSettings(factors=64, iterations=10)
        path = written(matrix, tmp_path / "interactions.parquet")
        flags = [f"--root={tmp_path}", "--holdout=none", "--factors=64", "--iterations=10", "--checkpoint-every=0"]
        command = [sys.executable, "-m", "training.collaborative", f"--interactions={path}", *flags]
        with subprocess.Popen(
            [*command, f"--workers={workers}", "--cpus=1"],
            cwd=ROOT,
            env=cluster.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as job:
            # Ray Train hears of a checkpoint within two seconds; the newest ones it may not know yet.
            assert wait_until(lambda: rounds_saved(tmp_path / "runs" / "collaborative") > 3, timeout_s=90)
            killed = a_worker_of(cluster)
            killed.kill()
            said, _ = job.communicate(timeout=180)
        assert job.returncode == 0, said
        assert "going on after round" in said, said
        manifest, factors = published(tmp_path)
        assert all(0 < worker["first_iteration"] < 10 for worker in manifest.parameters["workers"])
        assert_equal_within_rounding(factors, matrix, settings)

    def test_the_artifact_root_may_be_an_object_store(self, cluster: TrainingCluster, tmp_path: Path) -> None:
        """Ray Train keeps its run there too, until it is over: the query of the URI says where that is."""
        matrix = tastes(300, 120, 12)
        path = written(matrix, tmp_path / "interactions.parquet")
        job = TrainingCluster(cluster.environment | {"SHORTLIST_ARTIFACT_CACHE": str(tmp_path)})
        with s3_server() as server:
            root = server.root("shop")
            said, _ = job.run(
                "training.collaborative",
                [f"--interactions={path}", f"--root={root}", "--factors=4", "--iterations=2", "--tune=2", "--cpus=1"],
            )
            filesystem, below = arrow_fs.FileSystem.from_uri(root)
            runs = filesystem.get_file_info(arrow_fs.FileSelector(f"{below}/runs/collaborative"))
            with filesystem.open_input_stream(f"{below}/collaborative/ACTIVE") as active:
                assert active.read().decode().strip() == said["version"]
        assert runs == []


def rounds_saved(runs: Path) -> int:
    """After how many rounds the newest checkpoint below *runs* was made; 0 without one."""
    found = 0
    for path in runs.glob("*/checkpoint_*/iteration.json"):
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
            found = max(found, json.loads(path.read_text(encoding="utf-8")))
    return found


def a_worker_of(cluster: TrainingCluster) -> psutil.Process:
    """A process of a Ray Train worker; the address tells those of this cluster from others'."""
    port = cluster.environment["RAY_ADDRESS"].rpartition(":")[2]
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for process in psutil.process_iter(["cmdline"]):
            command = " ".join(process.info["cmdline"] or [])
            if "RayTrainWorker" in command and of_cluster(process, port):
                return process
    raise AssertionError("no Ray Train worker is at work")


def of_cluster(process: psutil.Process, port: str) -> bool:
    """Whether a worker process was started for the cluster whose GCS listens at *port*."""
    try:
        return any(connection.raddr and str(connection.raddr.port) == port for connection in process.net_connections())
    except psutil.Error:
        return False
