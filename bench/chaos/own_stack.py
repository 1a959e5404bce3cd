"""A stack for the bench alone."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cluster.state_directory import project_root

START_TIMEOUT_S = 1200.0
FREE_PORTS = ("--http-port=0", "--dashboard-port=0", "--training-dashboard-port=0")


@contextlib.contextmanager
def own_stack(*, workers: int) -> Iterator[Path]:
    """
    The state directory of a demo stack that is started now, and removed when the block ends.

    Args:
        workers: Ray nodes beside the head, over which the replicas are spread.
    """
    directory = Path(tempfile.mkdtemp(prefix="shortlist-chaos-", dir="/tmp"))
    # The account that Postgres runs as must be able to enter.
    directory.chmod(0o711)
    state_dir = directory / "state"
    try:
        _shortlist("demo", "--detach", f"--workers={workers}", *FREE_PORTS, "--json", "--state-dir", str(state_dir))
        yield state_dir
    finally:
        _shortlist("down", "--state-dir", str(state_dir))
        shutil.rmtree(directory, ignore_errors=True)


def _shortlist(*arguments: str) -> None:
    command = [sys.executable, "-m", "cluster.cli", *arguments]
    done = subprocess.run(  # noqa: S603 - our own command
        command, stdout=subprocess.PIPE, timeout=START_TIMEOUT_S, check=False, cwd=project_root()
    )
    if done.returncode != 0:
        said = json.dumps(arguments)
        raise RuntimeError(f"shortlist {said} ended with status {done.returncode}")
