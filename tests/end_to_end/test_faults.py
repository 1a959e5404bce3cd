from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cluster.child import wait_until
from tests.stack import Stack

pytestmark = pytest.mark.stack

# A kept answer was made while all was well, and needs no part that is down.
PAST_THE_CACHE = {"X-Consistency-Token": "1-0/1"}


def ranking_pids(stack: Stack) -> list[int]:
    """The processes of the ranking deployment's replicas."""
    processes = stack.shortlist.ask("status")["processes"]
    return [each["pid"] for each in processes if each["name"].startswith("serve:ranking:") and each["healthy"]]


def stages(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """The stages of a search, which must be answered."""
    response = client.get("/v1/search", params={"q": "star wars", "timeout_ms": "3000"}, headers=PAST_THE_CACHE)
    assert response.status_code == 200, response.text
    assert response.json()["hits"]
    return {stage["name"]: stage for stage in response.json()["stages"]}


@pytest.fixture
def _ranking_down(client: httpx.Client, stack: Stack) -> Iterator[None]:
    """Both ranking replicas are killed; afterwards both are back."""
    for pid in ranking_pids(stack):
        os.kill(pid, signal.SIGKILL)
    yield
    assert wait_until(lambda: stages(client)["rank"]["status"] == "ok", timeout_s=120)
    assert wait_until(lambda: len(ranking_pids(stack)) == 2, timeout_s=120)


@pytest.mark.usefixtures("_ranking_down")
class TestRankingDown:
    def test_search_goes_on_by_popularity(self, client: httpx.Client) -> None:
        rank = stages(client)["rank"]
        assert (rank["status"], rank["fallback"]) == ("fallback", "popularity")
        assert rank["cause"] in {"unavailable", "timeout"}

    def test_a_client_that_wants_no_stand_in_is_refused(self, client: httpx.Client) -> None:
        params = {"q": "star wars", "degradation": "forbid", "timeout_ms": "3000"}
        response = client.get("/v1/search", params=params, headers=PAST_THE_CACHE)
        assert response.status_code == 503, response.text
        assert response.json()["code"] == "degraded"
        assert response.headers["retry-after"] == "1"
