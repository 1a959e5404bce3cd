"""Every replica starts while no Postgres server and no Redis answers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Container, Iterator
from typing import Any

import httpx
import pytest

from bench.chaos.processes import frozen, kill
from cluster.child import wait_until
from cluster.record import StackRecord
from tests.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.usefixtures("left_well")]

PARTS = ("postgres-primary", "postgres-replica-1", "valkey")
DEPLOYMENTS = ("gateway", "search", "recommendation", "ranking", "ingestion")


def replicas(stack: Stack) -> dict[int, str]:
    """The deployment of each replica's process, of those that work."""
    processes = stack.shortlist.ask("status")["processes"]
    return {
        each["pid"]: each["name"].split(":")[1]
        for each in processes
        if each["name"].startswith("serve:") and each["healthy"] and each["name"].split(":")[1] in DEPLOYMENTS
    }


@contextlib.contextmanager
def without_servers(stack: Stack, fault: str) -> Iterator[None]:
    """Neither Postgres nor Valkey answers until the block ends; nobody starts them again meanwhile."""
    record = StackRecord.read(stack.shortlist.state.record)
    assert record is not None
    pids = [record.parts[name].process.pid for name in PARTS]
    with frozen([record.supervisor.pid], alone=True), contextlib.ExitStack() as faults:
        if fault == "killed":
            kill(pids)
        else:
            faults.enter_context(frozen(pids))
        yield


def started(stack: Stack, before: Container[int]) -> dict[str, int]:
    """How many replicas of each deployment work that are not of *before*."""
    return Counter(deployment for pid, deployment in replicas(stack).items() if pid not in before)


def answer(client: httpx.Client, path: str, **params: str) -> dict[str, Any]:
    """The body of an answer; empty while there is none."""
    with contextlib.suppress(httpx.TransportError, ValueError):
        response = client.get(path, params={**params, "timeout_ms": "3000"})
        if response.status_code == 200:
            return dict(response.json())
    return {}


def is_healthy(client: httpx.Client) -> bool:
    body = answer(client, "/v1/search", q="star wars")
    return bool(body) and not body["degraded"]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
def test_replicas_that_start_without_servers_answer_by_meaning(stack: Stack, client: httpx.Client, fault: str) -> None:
    assert wait_until(lambda: is_healthy(client), timeout_s=180)
    before = replicas(stack)
    both_of_each = dict.fromkeys(DEPLOYMENTS, 2)
    with without_servers(stack, fault):
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        found = {}

        def answers() -> bool:
            found.update(answer(client, "/v1/search", q="a war among the stars"))
            return bool(found.get("hits"))

        assert wait_until(answers, timeout_s=240, poll_s=0.5), found
        stages = {stage["name"]: stage for stage in found["stages"]}
        assert stages["keyword"]["fallback"] == "semantic"
        assert stages["semantic"]["status"] == "ok"
        assert found["degraded"]
        assert client.get("/health/ready").status_code == 200
        assert wait_until(lambda: started(stack, before) == both_of_each, timeout_s=240)
    assert wait_until(lambda: is_healthy(client), timeout_s=240, poll_s=1.0)
