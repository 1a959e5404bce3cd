from __future__ import annotations

import os
import re
import signal

import httpx
import psutil
import pytest
import yaml

from cluster.child import wait_until
from cluster.state_directory import project_root
from tests.stack import Stack

pytestmark = pytest.mark.stack

FLAG = "--metrics-export-port="
RULES = project_root() / "cluster" / "monitoring" / "alerts.yaml"


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


def exported(stack: Stack) -> set[str]:
    """The names of all metrics that the stack's nodes export now."""
    pages = [httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text for port in metrics_ports(stack)]
    return {line.partition("{")[0] for page in pages for line in page.splitlines() if not line.startswith("#")}


def watched() -> set[str]:
    """The names of all metrics that the alerts look at."""
    document = yaml.safe_load(RULES.read_text())
    return {
        name
        for group in document["groups"]
        for rule in group["rules"]
        for name in re.findall(r"\bray_\w+", rule["expr"])
    }


class TestMetrics:
    @pytest.mark.parametrize(
        "metric",
        [
            "ray_shortlist_pool_connections",
            "ray_shortlist_cache_reads_total",
            "ray_shortlist_stage_total",
            "ray_shortlist_request_seconds_bucket",
        ],
    )
    def test_prometheus_finds_what_the_replicas_count(self, client: httpx.Client, stack: Stack, metric: str) -> None:
        client.get("/v1/search", params={"q": "alien"})
        assert wait_until(lambda: metric in exported(stack), timeout_s=60)

    @pytest.mark.usefixtures("left_well")
    def test_everything_that_alerts_look_at_is_there(self, client: httpx.Client, stack: Stack) -> None:
        """Serve's count of failed health checks comes into being with the first, so a replica is killed for it."""
        replicas = [row for row in stack.status()["processes"] if row["name"].startswith("serve:ranking:")]
        os.kill(replicas[0]["pid"], signal.SIGKILL)
        assert len(watched()) > 10
        missing: set[str] = set()

        def complete() -> bool:
            client.get("/v1/search", params={"q": "alien"})
            missing.clear()
            missing.update(watched() - exported(stack))
            return not missing

        assert wait_until(complete, timeout_s=120), missing
        assert wait_until(lambda: two_ranking_replicas(stack), timeout_s=120)


def two_ranking_replicas(stack: Stack) -> bool:
    rows = [row for row in stack.status()["processes"] if row["name"].startswith("serve:ranking:")]
    return len(rows) == 2 and all(row["healthy"] for row in rows)
