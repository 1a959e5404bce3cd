from __future__ import annotations

from collections import Counter

import httpx
import pytest

from tests.stack import Stack

pytestmark = pytest.mark.stack


class TestDemo:
    def test_every_process_works_and_each_deployment_has_two_replicas(self, stack: Stack) -> None:
        rows = stack.status()["processes"]
        assert [row["name"] for row in rows if not row["healthy"]] == []
        assert [row["name"] for row in rows[:5]] == [
            "postgres-primary",
            "postgres-replica-1",
            "valkey",
            "ray-serving",
            "ray-training",
        ]
        deployments = Counter(row["name"].split(":")[1] for row in rows[5:])
        assert deployments == dict.fromkeys(("gateway", "search", "recommendation", "ranking", "ingestion"), 2)

    def test_it_asked_three_searches_and_three_recommendations(self, stack: Stack) -> None:
        paths = Counter(each["request"]["path"] for each in stack.demo["answers"])
        assert paths == {"/v1/search": 3, "/v1/recommendations": 3}
        assert all(each["answer"]["hits"] and not each["answer"]["degraded"] for each in stack.demo["answers"])

    def test_the_dashboards_want_the_token(self, stack: Stack) -> None:
        token = stack.shortlist.state.token.read_text()
        for url in (stack.demo["dashboard_url"], stack.demo["training_dashboard_url"]):
            assert httpx.get(f"{url}/api/jobs/").status_code == 401
            assert httpx.get(f"{url}/api/jobs/", headers={"Authorization": f"Bearer {token}"}).status_code == 200

    def test_a_second_run_loads_and_trains_nothing(self, stack: Stack) -> None:
        again = stack.shortlist.ask("demo", "--detach", timeout_s=300)
        assert again["url"] == stack.url
        assert not [step for step in again["seconds"] if step.startswith(("load", "train"))]

    def test_the_same_requests_get_the_same_hits_again(self, stack: Stack) -> None:
        for each in stack.demo["answers"]:
            path, parameters = each["request"].pop("path"), each["request"]
            again = httpx.get(f"{stack.url}{path}", params={**parameters, "explain": "true", "limit": "5"}).json()
            assert [hit["id"] for hit in again["hits"]] == [hit["id"] for hit in each["answer"]["hits"]]
            each["request"]["path"] = path
