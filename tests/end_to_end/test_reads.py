from __future__ import annotations

from typing import Any

import httpx
import pytest

from deployments.http.schemas import ReadBody

pytestmark = pytest.mark.stack


def answer(response: httpx.Response) -> dict[str, Any]:
    """The body of a successful read, which must be of the documented shape."""
    assert response.status_code == 200, response.text
    ReadBody.model_validate_json(response.content)
    body: dict[str, Any] = response.json()
    return body


def hit_ids(body: dict[str, Any]) -> list[str]:
    return [hit["id"] for hit in body["hits"]]


class TestSearch:
    def test_a_personal_search_ranks_films_from_both_retrievers(self, client: httpx.Client) -> None:
        params = {"q": "space adventure", "user_id": "1", "explain": "true"}
        body = answer(client.get("/v1/search", params=params))
        assert not body["degraded"]
        retrievers = [set(hit["explain"]["retrievers"]) for hit in body["hits"]]
        assert {"keyword", "semantic"} <= set().union(*retrievers)
        assert any(hit["explain"]["features"]["cf"] is not None for hit in body["hits"])
        assert "2001: A Space Odyssey" in [hit["product"]["title"] for hit in body["hits"]]

    def test_contributions_add_up_to_the_score(self, client: httpx.Client) -> None:
        body = answer(client.get("/v1/search", params={"q": "comedy", "user_id": "7", "explain": "true", "limit": 100}))
        assert len(body["hits"]) == 100
        for hit in body["hits"]:
            parts = hit["explain"]["contributions"]
            assert sum(parts.values()) == pytest.approx(hit["score"], abs=1e-9)
            for name, value in hit["explain"]["features"].items():
                expected = (value or 0) * hit["explain"]["weights"][name]
                assert parts[name] == pytest.approx(expected, abs=2e-6)

    def test_scores_fall_and_equal_scores_go_by_id(self, client: httpx.Client) -> None:
        hits = answer(client.get("/v1/search", params={"q": "the", "mode": "semantic", "limit": 100}))["hits"]
        order = [(-hit["score"], hit["id"]) for hit in hits]
        assert order == sorted(order)
        assert [hit["rank"] for hit in hits] == list(range(1, len(hits) + 1))

    def test_every_replica_gives_the_same_bytes_for_the_same_request(self, client: httpx.Client) -> None:
        params: dict[str, Any] = {"q": "space adventure", "user_id": "1", "explain": "true", "limit": 50}
        past_the_cache = {"X-Consistency-Token": "1-0/1"}
        bodies = [answer(client.get("/v1/search", params=params, headers=past_the_cache)) for _ in range(24)]
        hits: dict[str, set[str]] = {}
        for body in bodies:
            hits.setdefault(str(body["versions"]), set()).add(str(body["hits"]))
        assert [len(each) for each in hits.values()] == [1] * len(hits)
        assert len(hits) < len(bodies) / 2

    def test_versions_and_stages_are_named(self, client: httpx.Client) -> None:
        body = answer(client.get("/v1/search", params={"q": "alien", "user_id": "1"}))
        assert all(body["versions"].values())
        names = [stage["name"] for stage in body["stages"] if stage["name"] != "cache"]
        assert names == ["keyword", "semantic", "hydrate", "profile", "rank"]
        assert body["freshness"]["read_from"] == "replica-1"

    @pytest.mark.parametrize("mode", ["keyword", "semantic"])
    def test_one_retriever_alone(self, client: httpx.Client, mode: str) -> None:
        body = answer(
            client.post("/v1/search", json={"q": "star wars", "mode": mode, "explain": True, "timeout_ms": 20_000})
        )
        assert {name for hit in body["hits"] for name in hit["explain"]["retrievers"]} == {mode}

    def test_pages_continue_each_other(self, client: httpx.Client) -> None:
        whole = hit_ids(answer(client.get("/v1/search", params={"q": "war", "limit": 30})))
        paged: list[str] = []
        params: dict[str, Any] = {"q": "war", "limit": 10}
        for _ in range(3):
            body = answer(client.get("/v1/search", params=params))
            paged += hit_ids(body)
            params["cursor"] = body["next_cursor"]
        assert paged == whole

    def test_a_category_filter_holds(self, client: httpx.Client) -> None:
        hits = answer(client.get("/v1/search", params={"q": "love", "category": "Comedy"}))["hits"]
        assert {hit["product"]["category"] for hit in hits} == {"Comedy"}


class TestRecommendations:
    def test_users_get_different_films(self, client: httpx.Client) -> None:
        lists = {user: hit_ids(answer(client.get("/v1/recommendations", params={"user_id": user}))) for user in "1234"}
        assert len({tuple(one) for one in lists.values()}) == 4

    def test_excluded_films_and_those_the_user_rated_do_not_appear(self, client: httpx.Client) -> None:
        first = hit_ids(answer(client.get("/v1/recommendations", params={"user_id": "2", "limit": 20})))
        body = {"user_id": "2", "limit": 100, "exclude_ids": first[:10], "timeout_ms": 20_000}
        second = answer(client.post("/v1/recommendations", json=body))
        assert not set(first[:10]) & set(hit_ids(second))
        assert hit_ids(second)[:10] == first[10:]

    def test_an_unknown_user_gets_popular_films_and_the_stages_say_so(self, client: httpx.Client) -> None:
        body = answer(client.get("/v1/recommendations", params={"user_id": "nobody", "degradation": "forbid"}))
        stages = {stage["name"]: stage for stage in body["stages"]}
        assert (stages["collaborative"]["fallback"], stages["collaborative"]["cause"]) == ("popular", "unknown_user")
        assert not body["degraded"]
        assert hit_ids(body) == hit_ids(answer(client.get("/v1/recommendations")))

    def test_films_like_star_wars(self, client: httpx.Client) -> None:
        body = answer(client.get("/v1/recommendations", params={"product_ids": "50", "limit": 10}))
        titles = {hit["product"]["title"] for hit in body["hits"]}
        assert {"Return of the Jedi", "Empire Strikes Back, The"} <= titles
        assert "Star Wars" not in titles
