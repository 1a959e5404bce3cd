from __future__ import annotations

import os
import signal
from typing import Any

import httpx
import pytest

from cluster.child import wait_until
from tests.stack import Stack

pytestmark = pytest.mark.stack


def stages(client: httpx.Client) -> dict[str, dict[str, Any]]:
    """The stages of a search, which must be answered."""
    response = client.get("/v1/search", params={"q": "star wars", "timeout_ms": "3000"})
    assert response.status_code == 200, response.text
    assert response.json()["hits"]
    return {stage["name"]: stage for stage in response.json()["stages"]}


class TestRankingDown:
    def test_search_goes_on_by_popularity_until_ranking_is_back(self, client: httpx.Client, stack: Stack) -> None:
        for process in stack.shortlist.ask("status")["processes"]:
            if process["name"].startswith("serve:ranking:"):
                os.kill(process["pid"], signal.SIGKILL)
        rank = stages(client)["rank"]
        assert (rank["status"], rank["fallback"]) == ("fallback", "popularity")
        assert rank["cause"] in {"unavailable", "timeout"}
        assert wait_until(lambda: stages(client)["rank"]["status"] == "ok", timeout_s=120)

    def test_a_client_that_wants_no_stand_in_is_refused_meanwhile(self, client: httpx.Client, stack: Stack) -> None:
        for process in stack.shortlist.ask("status")["processes"]:
            if process["name"].startswith("serve:ranking:"):
                os.kill(process["pid"], signal.SIGKILL)
        response = client.get("/v1/search", params={"q": "star wars", "degradation": "forbid", "timeout_ms": "3000"})
        assert (response.status_code, response.json()["code"]) == (503, "degraded")
        assert response.headers["retry-after"] == "1"
        assert wait_until(lambda: stages(client)["rank"]["status"] == "ok", timeout_s=120)
