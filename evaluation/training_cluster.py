"""A Ray cluster to train on, for as long as a measurement takes."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[1]

# The process is the whole cluster: it ends with it, and finds free ports by itself.
_CLUSTER = """
import sys
import ray
context = ray.init(
    num_cpus=int(sys.argv[2]), include_dashboard=False, object_store_memory=int(sys.argv[3]), _temp_dir=sys.argv[1],
    log_to_driver=False, logging_level="ERROR",
)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


class ClusterDidNotStart(Exception):
    """There is no cluster to train on: Ray gave up, most often because the machine was too busy."""


class JobFailed(Exception):
    """A training job ended without its last line; what it said is in the message."""


@dataclass(frozen=True)
class TrainingCluster:
    """
    Where jobs run.

    Args:
        environment: By which a process finds the cluster and this code.
    """

    environment: dict[str, str]

    def run(self, module: str, arguments: Sequence[str], *, show: bool = False) -> tuple[dict[str, Any], float]:
        """
        Run ``python -m module`` as a job; return its last line and the seconds it took, its start included.

        Raises:
            JobFailed: it did not end well.
        """
        began = time.monotonic()
        with subprocess.Popen(  # noqa: S603  our own modules
            [sys.executable, "-m", module, *arguments],
            env=self.environment,
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as job:
            assert job.stdout is not None
            lines = []
            for line in job.stdout:
                lines.append(line.rstrip("\n"))
                if show:
                    print(f"    {lines[-1]}", flush=True)
        seconds = time.monotonic() - began
        last = next((line for line in reversed(lines) if line.startswith("{")), None)
        if job.returncode or last is None:
            raise JobFailed("\n".join([f"{module} ended with {job.returncode}:", *lines[-40:]]))
        return json.loads(last), seconds


@contextmanager
def training_cluster(
    *, cpus: int, store_bytes: int = 1_000_000_000, address: str | None = None
) -> Iterator[TrainingCluster]:
    """
    Start a cluster that nothing else uses, and stop it at the end.

    Args:
        cpus: That its workers may ask for.
        store_bytes: Of its object store.
        address: Of a cluster that runs already, to be used instead and left running.
    """
    base = dict(os.environ) | {"PYTHONPATH": str(_ROOT)}
    if address is not None:
        yield TrainingCluster(base | {"RAY_ADDRESS": address})
        return
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    base = {name: value for name, value in base.items() if name != "RAY_ADDRESS"} | token
    with (
        tempfile.TemporaryDirectory(prefix="shortlist-ray-", dir="/tmp", ignore_cleanup_errors=True) as directory,
        subprocess.Popen(  # noqa: S603  ourselves
            [sys.executable, "-c", _CLUSTER, directory, str(cpus), str(store_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=base,
            text=True,
        ) as cluster,
    ):
        assert cluster.stdout is not None
        try:
            found = cluster.stdout.readline().strip()
            if not found:
                raise ClusterDidNotStart("Ray did not start; what it says of it is above. Try again when less runs.")
            yield TrainingCluster(base | {"RAY_ADDRESS": found})
        finally:
            cluster.communicate("")
