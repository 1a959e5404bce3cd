"""The embeddings job on a real cluster, with the real encoder and a real database."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from artifacts.embedding_index import EmbeddingIndex
from artifacts.nearest import nearest_products
from artifacts.store import ArtifactStore
from evaluation.training_cluster import TrainingCluster, training_cluster
from tests.training.conftest import Fetch

ROOT = Path(__file__).parents[2]
MANY = 3_000
ADD = """
insert into products (id, title, description)
select 'p' || to_char(n, 'FM0000'), 'product number ' || n, 'The description of the product with the number ' || n
from generate_series(1, $1::integer) as n
"""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def cluster() -> Iterator[TrainingCluster]:
    with training_cluster(cpus=2, store_bytes=100_000_000) as started:
        yield started


class Job:
    """The job, as it is submitted, over one database and one artifact root."""

    def __init__(self, environment: dict[str, str], root: Path) -> None:
        self._environment = environment
        self.store = ArtifactStore(str(root))

    def start(self, *flags: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "training.embeddings", "--checked=60", *flags],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *flags: str) -> dict[str, Any]:
        """The job's last line."""
        return ended(self.start(*flags))

    def index(self) -> EmbeddingIndex:
        version = self.store.active_version("embeddings") or ""
        manifest = self.store.manifest("embeddings", version)
        return EmbeddingIndex.load(self.store.fetch("embeddings", version), manifest)


def ended(job: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = job.communicate(timeout=600)
    assert job.returncode == 0, said
    last: dict[str, Any] = json.loads(said.splitlines()[-1])
    return last


@pytest.fixture
def job(cluster: TrainingCluster, database_url: str, tmp_path: Path) -> Job:
    environment = {
        "SHORTLIST_DATABASE_URL": database_url,
        "SHORTLIST_REPLICA_URLS": "",
        "SHORTLIST_ARTIFACTS": str(tmp_path),
    }
    return Job(cluster.environment | environment, tmp_path)


def embedded(fetch: Fetch) -> int:
    (count,) = fetch("select count(*) from product_embeddings")[0]
    assert isinstance(count, int)
    return count


def some_are_embedded(fetch: Fetch, job: subprocess.Popen[str]) -> int:
    """How many, once it is more than none."""
    while not (count := embedded(fetch)):
        assert job.poll() is None, job.communicate()[0]
        time.sleep(0.05)
    return count


class TestEmbeddingsJob:
    def test_only_what_changed_is_encoded_and_published(self, job: Job, fetch: Fetch) -> None:
        fetch(ADD, 200)
        first = job.run()
        assert first["counts"] == {"products": 200, "encoded": 200, "unreadable": 0}
        metrics = first["metrics"]
        assert (metrics["recall_at_10"], metrics["pairs"]) == (1.0, 60)
        assert metrics["pairs_ndcg_at_10"] > metrics["pairs_ndcg_at_10_original"] - 0.02

        again = job.run()
        assert (again["version"], again["counts"]["encoded"]) == (first["version"], 0)
        assert job.store.versions("embeddings") == [first["version"]]

        fetch("update products set title = 'a red bicycle', description = null where id = 'p0007'")
        fetch("update products set price = 3 where id = 'p0008'")
        fetch("delete from products where id = 'p0009'")
        second = job.run()
        assert (second["counts"]["encoded"], second["counts"]["products"]) == (1, 199)
        index = job.index()
        query = index.encoder.encode(["bicycle"])[0]
        assert nearest_products(index.index, index.product_ids, query, limit=1)[0][0] == "p0007"
        assert index.product_ids.row("p0009") == -1

        forced = job.run("--anew", "--index=IVF4,SQ8")
        assert forced["counts"]["encoded"] == 0
        manifest = job.store.manifest("embeddings", forced["version"])
        said = manifest.parameters["index"]
        assert (said["type"], list(said["search"])) == ("IVF4,SQ8", ["nprobe"])
        assert manifest.metrics["recall_at_10"] >= 0.95
        assert (manifest.parent, len(job.index().product_ids)) == (second["version"], 199)

    def test_a_version_in_use_that_is_damaged_is_made_anew_without_encoding(self, job: Job, fetch: Fetch) -> None:
        fetch(ADD, 50)
        first = job.run()
        content = job.store.fetch("embeddings", first["version"]) / "index.faiss"
        content.write_bytes(content.read_bytes()[:-1])
        second = job.run()
        assert (second["version"] != first["version"], second["counts"]["encoded"]) == (True, 0)
        assert len(job.index().product_ids) == 50

    def test_a_worker_that_is_killed_midway_is_replaced(self, job: Job, fetch: Fetch) -> None:
        """What it had stored is not encoded again, but for what it was at when it died."""
        fetch(ADD, MANY)
        running = job.start()
        some_are_embedded(fetch, running)
        killed = [process for process in psutil.process_iter() if "RangeEmbedder" in " ".join(titled(process))]
        assert killed
        for process in killed:
            process.kill()
        last = ended(running)
        assert embedded(fetch) == MANY == last["counts"]["products"]
        assert np.isfinite(job.index().index.reconstruct_n(0, MANY)).all()

    def test_a_job_that_is_killed_midway_goes_on_where_it_was(self, job: Job, fetch: Fetch) -> None:
        fetch(ADD, MANY)
        running = job.start()
        some_are_embedded(fetch, running)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        while psutil_titles("RangeEmbedder"):
            time.sleep(0.1)
        before = embedded(fetch)
        assert 0 < before < MANY
        last = job.run()
        assert last["counts"] == {"products": MANY, "encoded": MANY - before, "unreadable": 0}


def titled(process: psutil.Process) -> list[str]:
    """The command line, in which Ray says what a worker does."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def psutil_titles(part: str) -> list[int]:
    return [process.pid for process in psutil.process_iter() if part in " ".join(titled(process))]
