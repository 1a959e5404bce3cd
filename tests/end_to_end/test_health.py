from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import httpx
import psutil
import pytest

from cluster.child import wait_until
from tests.stack import Stack

pytestmark = pytest.mark.stack

FROZEN = ("valkey", "postgres-primary", "postgres-replica-1", "serve:ranking:", "serve:ingestion:")


@pytest.fixture
def _much_frozen(stack: Stack) -> Iterator[None]:
    """Valkey, both databases and all replicas of two deployments are stopped for a moment."""
    found = [psutil.Process(row["pid"]) for row in stack.status()["processes"] if row["name"].startswith(FROZEN)]
    pids = [each.pid for process in found for each in (process, *process.children(recursive=True))]
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


class TestHealth:
    def test_a_healthy_stack_says_so_and_raises_no_alert(self, client: httpx.Client) -> None:
        assert wait_until(lambda: client.get("/health").json()["status"] == "ok", timeout_s=120)
        health = client.get("/health").json()
        assert health["health_check"]["problem"] is None
        for part in health["deployments"].values():
            assert part["health_check"] == {"failures": 0, "failures_in_a_row": 0, "problem": None}

    @pytest.mark.usefixtures("left_well", "_much_frozen")
    def test_it_never_hangs_however_much_does(self, stack: Stack) -> None:
        """Each answer comes within the client's patience; what does not answer is named."""
        with httpx.Client(base_url=stack.url, timeout=15) as client:
            for _ in range(3):
                health = client.get("/health").json()
                assert health["status"] == "degraded"
                assert not health["cache"]["healthy"]
                assert not health["deployments"]["ranking"]["healthy"]
                assert not health["deployments"]["ingestion"]["healthy"]
                assert health["deployments"]["search"]["version"]
                assert client.get("/health/live").status_code == 200
                assert client.get("/health/ready").status_code == 200
