"""The collaborative job as a Ray Train run on a real cluster of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from artifacts.factors import Factors
from artifacts.store import ArtifactStore
from tests.training.conftest import Fetch

ROOT = Path(__file__).parents[2]
USERS, ITEMS = 24, 24

# The process is the whole cluster: it ends with it, and finds free ports by itself.
CLUSTER = """
import sys
import ray
context = ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100_000_000, _temp_dir=sys.argv[1])
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@pytest.fixture(scope="module")
def ray_address() -> Iterator[str]:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    environment |= TOKEN | {"PYTHONPATH": str(ROOT)}
    with (
        tempfile.TemporaryDirectory(prefix="shortlist-ray-", dir="/tmp", ignore_cleanup_errors=True) as directory,
        subprocess.Popen(
            [sys.executable, "-c", CLUSTER, directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        ) as cluster,
    ):
        assert cluster.stdout is not None
        yield cluster.stdout.readline().strip()
        cluster.communicate("")


# The demo of each whole stack runs the job too; tests/training/test_als.py says what it finds.
@pytest.mark.long
class TestCollaborativeJob:
    def test_events_become_an_active_version(
        self, ray_address: str, database_url: str, fetch: Fetch, tmp_path: Path
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
        environment = (
            dict(os.environ)
            | TOKEN
            | {
                "RAY_ADDRESS": ray_address,
                "SHORTLIST_DATABASE_URL": database_url,
                "SHORTLIST_REPLICA_URLS": "",
                "SHORTLIST_ARTIFACTS": str(tmp_path),
            }
        )
        command = [sys.executable, "-m", "training.collaborative", "--factors=2", "--alpha=10", "--regularization=0.01"]
        job = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False
        )
        assert job.returncode == 0, job.stderr
        store = ArtifactStore(str(tmp_path))
        version = store.active_version("collaborative") or ""
        manifest = store.manifest("collaborative", version)
        factors = Factors.load(store.fetch("collaborative", version))
        scores = factors.user_factors @ factors.item_factors.T
        own_kind = np.array([[(int(u[1:]) + int(p[1:])) % 2 == 0 for p in factors.item_ids] for u in factors.user_ids])

        last_line = json.loads(job.stdout.splitlines()[-1])
        assert (last_line["version"], last_line["counts"]) == (
            version,
            {"users": USERS, "items": ITEMS, "interactions": USERS * ITEMS // 2 - USERS},
        )
        assert scores[own_kind].min() > scores[~own_kind].max()
        assert manifest.metrics["ndcg_at_10"] > manifest.metrics["popularity_ndcg_at_10"]
        assert manifest.parameters["cf_transform"]["kind"] == "logistic"
        assert [path.name for path in (tmp_path / "runs" / "collaborative").iterdir()] == [version]
