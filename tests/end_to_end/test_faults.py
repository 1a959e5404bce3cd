from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import psutil
import pytest

from cluster.child import wait_until
from tests.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("left_well")]

# A kept answer was made while all was well, and needs no part that is down.
PAST_THE_CACHE = {"X-Consistency-Token": "1-0/1"}
SEARCH = {"q": "star wars", "user_id": "1", "timeout_ms": "5000"}
# What becomes of a call to a dead or frozen replica is decided in one place for all deployments: one shows it.
READ_BY_ALL = ("search", *(pytest.param(name, marks=pytest.mark.long) for name in ("recommendation", "ranking")))
A_LOADED_MACHINE_MS = 2000


def pids(stack: Stack, deployment: str) -> list[int]:
    """The processes of the deployment's replicas."""
    processes = stack.status()["processes"]
    return [each["pid"] for each in processes if each["name"].startswith(f"serve:{deployment}:") and each["healthy"]]


def read(client: httpx.Client, path: str = "/v1/search", **params: str) -> dict[str, dict[str, Any]]:
    """The stages of an answer, which must have hits."""
    asked = params or SEARCH
    response = client.get(path, params={"timeout_ms": "5000", **asked}, headers=PAST_THE_CACHE)
    assert response.status_code == 200, response.text
    assert response.json()["hits"]
    return {stage["name"]: stage for stage in response.json()["stages"]}


def is_healthy(client: httpx.Client, *, times: int = 5) -> bool:
    """Whether so many answers in a row are as they should be."""
    for _ in range(times):
        response = client.get("/v1/search", params=SEARCH, headers=PAST_THE_CACHE)
        if response.status_code != 200 or response.json()["degraded"]:
            return False
    return True


def idle(raylet: psutil.Process) -> set[int]:
    """The worker processes of a node that have nothing to do."""
    found = set()
    for process in raylet.children():
        with suppress(psutil.Error):
            if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::IDLE"):
                found.add(process.pid)
    return found


def causes(stages: dict[str, dict[str, Any]], *names: str) -> set[str]:
    return {stages[name]["cause"] for name in names}


@contextmanager
def all_killed(client: httpx.Client, stack: Stack, deployment: str) -> Iterator[None]:
    """Every replica of the deployment is killed; afterwards all are back."""
    for pid in pids(stack, deployment):
        os.kill(pid, signal.SIGKILL)
    try:
        yield
    finally:
        assert wait_until(lambda: len(pids(stack, deployment)) == 2, timeout_s=180)
        assert wait_until(lambda: is_healthy(client), timeout_s=180)


class TestOneReplicaKilled:
    @pytest.mark.parametrize("deployment", READ_BY_ALL)
    def test_no_read_fails_or_is_degraded(self, client: httpx.Client, stack: Stack, deployment: str) -> None:
        assert wait_until(lambda: is_healthy(client), timeout_s=120)
        os.kill(pids(stack, deployment)[0], signal.SIGKILL)
        patient = {**SEARCH, "timeout_ms": "20000"}
        answers = [client.get("/v1/search", params=patient, headers=PAST_THE_CACHE) for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        assert {answer.headers.get("x-degraded") for answer in answers} == {None}
        assert wait_until(lambda: len(pids(stack, deployment)) == 2, timeout_s=180)


class TestAllGatewaysKilled:
    def test_others_start_in_the_processes_that_stood_idle(self, client: httpx.Client, stack: Stack) -> None:
        assert wait_until(lambda: len(pids(stack, "gateway")) == 2, timeout_s=120)
        killed = pids(stack, "gateway")
        raylet = psutil.Process(killed[0]).parent()
        assert raylet is not None
        assert wait_until(lambda: len(idle(raylet)) == 2, timeout_s=60)
        spares = idle(raylet)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: set(pids(stack, "gateway")) == spares, timeout_s=60)
        assert wait_until(lambda: is_healthy(client), timeout_s=60)


class TestOneReplicaFrozen:
    @pytest.mark.parametrize("deployment", READ_BY_ALL)
    def test_it_gets_no_more_reads_once_it_let_one_time_out(
        self, client: httpx.Client, stack: Stack, deployment: str
    ) -> None:
        assert wait_until(lambda: is_healthy(client), timeout_s=120)
        frozen = pids(stack, deployment)[0]
        os.kill(frozen, signal.SIGSTOP)
        try:
            assert wait_until(lambda: bool(read(client)) and is_healthy(client, times=10), timeout_s=25)
        finally:
            with suppress(ProcessLookupError):
                os.kill(frozen, signal.SIGCONT)
        assert wait_until(lambda: len(pids(stack, deployment)) == 2, timeout_s=180)


class TestAllReplicasFrozen:
    @pytest.mark.parametrize("deployment", READ_BY_ALL)
    def test_an_answer_comes_within_its_deadline(self, client: httpx.Client, stack: Stack, deployment: str) -> None:
        """Fewer reads than open a breaker, so that nothing has to be waited for afterwards."""
        assert wait_until(lambda: is_healthy(client), timeout_s=120)
        frozen = pids(stack, deployment)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):
                response = client.get("/v1/search", params=SEARCH, headers=PAST_THE_CACHE)
                assert response.status_code == 200, response.text
                assert response.json()["hits"]
                assert "timeout" in response.headers["x-degraded"]
                assert response.json()["took_ms"] < float(SEARCH["timeout_ms"]) + A_LOADED_MACHINE_MS
        finally:
            for pid in frozen:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        assert wait_until(lambda: is_healthy(client), timeout_s=180)


class TestSearchDown:
    def test_the_gateway_searches_by_words(self, client: httpx.Client, stack: Stack) -> None:
        with all_killed(client, stack, "search"):
            stages = read(client)
            assert (stages["keyword"]["status"], stages["keyword"]["fallback"]) == ("fallback", "gateway")
            assert causes(stages, "keyword", "semantic") <= {"unavailable", "timeout", "circuit_open"}
            assert stages["rank"]["status"] == "ok"
            params = SEARCH | {"degradation": "forbid"}
            refused = client.get("/v1/search", params=params, headers=PAST_THE_CACHE)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


class TestRecommendationDown:
    def test_searches_are_not_personal_and_recommendations_are_popular(
        self, client: httpx.Client, stack: Stack
    ) -> None:
        with all_killed(client, stack, "recommendation"):
            stages = read(client, "/v1/recommendations", user_id="1")
            assert (stages["collaborative"]["status"], stages["collaborative"]["fallback"]) == ("fallback", "popular")
            stages = read(client)
            assert stages["profile"]["status"] == "skipped"
            assert causes(stages, "profile") <= {"unavailable", "timeout", "circuit_open"}


class TestRankingDown:
    def test_search_goes_on_by_popularity_and_forbid_is_refused(self, client: httpx.Client, stack: Stack) -> None:
        with all_killed(client, stack, "ranking"):
            rank = read(client)["rank"]
            assert (rank["status"], rank["fallback"]) == ("fallback", "popularity")
            assert rank["cause"] in {"unavailable", "timeout", "circuit_open"}
            params = SEARCH | {"degradation": "forbid"}
            refused = client.get("/v1/search", params=params, headers=PAST_THE_CACHE)
            assert refused.status_code == 503, refused.text
            assert refused.json()["code"] == "degraded"
            assert refused.headers["retry-after"] == "1"


class TestIngestionDown:
    def test_writes_are_refused_and_reads_go_on(self, client: httpx.Client, stack: Stack) -> None:
        with all_killed(client, stack, "ingestion"):
            event = {"id": "refused", "user_id": "nobody", "product_id": "50", "type": "view"}
            refused = client.post("/v1/events", json={"events": [event]})
            assert refused.status_code == 503, refused.text
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["retryable"]
            assert is_healthy(client)
