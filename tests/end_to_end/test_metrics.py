from __future__ import annotations

import httpx
import psutil
import pytest

from cluster.child import wait_until
from tests.stack import Stack

pytestmark = pytest.mark.stack

FLAG = "--metrics-export-port="


def metrics_ports(stack: Stack) -> set[int]:
    """The ports where the stack's nodes export their metrics, from the command lines of their processes."""
    mark, ports = str(stack.shortlist.state.alias), set()
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(mark in word for word in words):
            ports |= {int(word.removeprefix(FLAG)) for word in words if word.startswith(FLAG)}
    return ports


class TestMetrics:
    @pytest.mark.parametrize(
        "metric", ["ray_shortlist_pool_connections", "ray_shortlist_replica_lag_ms", "ray_shortlist_cache_reads_total"]
    )
    def test_prometheus_finds_what_the_replicas_count(self, client: httpx.Client, stack: Stack, metric: str) -> None:
        client.get("/v1/search", params={"q": "alien"})
        ports = metrics_ports(stack)
        assert ports

        def exported() -> bool:
            pages = [httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text for port in ports]
            return any(line.startswith(f"{metric}{{") for page in pages for line in page.splitlines())

        assert wait_until(exported, timeout_s=60)
