from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cluster.child import wait_until

pytestmark = pytest.mark.stack

TOKEN = "X-Consistency-Token"


@pytest.fixture
def word() -> str:
    """A word that no product holds."""
    return "zq" + "".join(secrets.choice("bcdfgkmnprtvwxz") for _ in range(10))


@pytest.fixture
def product_id(client: httpx.Client) -> Iterator[str]:
    """The id of a product to write, which is gone afterwards."""
    name = f"raw-{secrets.token_hex(6)}"
    yield name
    client.delete(f"/v1/products/{name}")


def written(client: httpx.Client, product_id: str, **fields: object) -> str:
    """Write a product; the token of the write."""
    response = client.put(f"/v1/products/{product_id}", json=fields)
    assert response.status_code == 200, response.text
    return response.headers[TOKEN]


def search(client: httpx.Client, q: str, token: str | None = None, **params: Any) -> httpx.Response:  # noqa: ANN401
    response = client.get("/v1/search", params={"q": q, **params}, headers={TOKEN: token} if token else {})
    assert response.status_code == 200, response.text
    return response


def found(response: httpx.Response) -> dict[str, Any]:
    """The products of an answer, by id."""
    return {hit["id"]: hit["product"] for hit in response.json()["hits"]}


class TestConsistencyToken:
    def test_the_next_read_sees_a_new_product_a_changed_one_and_a_deletion(
        self, client: httpx.Client, word: str, product_id: str
    ) -> None:
        token = written(client, product_id, title=f"The {word}", price=10)
        assert found(search(client, word, token))[product_id]["price"] == 10
        token = written(client, product_id, title=f"The {word}", price=12.5)
        assert found(search(client, word, token))[product_id]["price"] == 12.5
        token = written(client, product_id, title=f"The {word}", in_stock=False)
        assert product_id not in found(search(client, word, token))
        token = client.delete(f"/v1/products/{product_id}").headers[TOKEN]
        assert product_id not in found(search(client, word, token))

    def test_such_a_read_is_not_taken_from_the_cache_and_is_not_degraded(
        self, client: httpx.Client, word: str, product_id: str
    ) -> None:
        search(client, word)
        token = written(client, product_id, title=f"The {word}")
        for _ in range(3):
            response = search(client, word, token)
            assert product_id in found(response)
            assert not response.json()["degraded"]
            assert response.headers["Cache-Status"] == "Shortlist; fwd=bypass; detail=consistency-token"

    def test_a_token_of_another_timeline_is_served_by_the_primary(self, client: httpx.Client) -> None:
        body = search(client, "star wars", "4000-0/1").json()
        assert body["freshness"]["read_from"] == "primary"
        assert not body["degraded"]


class TestResultCache:
    def test_a_repeated_query_hits_and_says_what_the_first_answer_said(self, client: httpx.Client) -> None:
        params: dict[str, Any] = {"q": f"war {secrets.randbelow(10**9)}", "limit": 7}

        def hit() -> httpx.Response | None:
            response = client.get("/v1/search", params=params)
            return response if response.headers["Cache-Status"].startswith("Shortlist; hit") else None

        first = client.get("/v1/search", params=params).json()
        assert wait_until(lambda: hit() is not None, timeout_s=30)
        again = hit()
        assert again is not None
        body = again.json()
        assert (body["hits"], body["versions"]) == (first["hits"], first["versions"])
        stages = {stage["name"]: stage for stage in body["stages"]}
        assert (stages["cache"]["status"], stages["cache"]["source"]) == ("ok", "redis")
        assert stages["keyword"]["status"] == "ok"

    def test_a_repeated_query_finds_a_new_product(self, client: httpx.Client, word: str, product_id: str) -> None:
        assert wait_until(lambda: "hit" in search(client, word).headers["Cache-Status"], timeout_s=30)
        written(client, product_id, title=f"The {word}")
        assert wait_until(lambda: product_id in found(search(client, word)), timeout_s=30)

    def test_a_deleted_product_leaves_cached_answers(self, client: httpx.Client, word: str, product_id: str) -> None:
        written(client, product_id, title=f"The {word}")
        assert wait_until(lambda: product_id in found(search(client, word)), timeout_s=30)
        assert wait_until(lambda: "hit" in search(client, word).headers["Cache-Status"], timeout_s=30)
        client.delete(f"/v1/products/{product_id}")
        assert wait_until(lambda: product_id not in found(search(client, word)), timeout_s=30)


class TestByMeaning:
    def test_a_new_product_is_found_without_training(self, client: httpx.Client, product_id: str) -> None:
        written(client, product_id, title="Sourdough starter", description="Bake bread at home with wild yeast.")
        q = "baking bread with natural yeast"
        assert wait_until(lambda: product_id in found(search(client, q, mode="semantic")), timeout_s=60)
        client.delete(f"/v1/products/{product_id}")
        assert wait_until(lambda: product_id not in found(search(client, q, mode="semantic")), timeout_s=60)

    def test_filters_hold(self, client: httpx.Client, product_id: str) -> None:
        category = f"Bakery {product_id}"
        written(client, product_id, title="Sourdough starter", category=category, price=7)
        params: dict[str, Any] = {"mode": "semantic", "category": category, "price_max": 7}
        assert wait_until(lambda: list(found(search(client, "bread", **params))) == [product_id], timeout_s=60)


class TestEventsWithoutTraining:
    def test_a_new_user_gets_personal_recommendations_from_a_few_events(self, client: httpx.Client) -> None:
        user = f"new-{secrets.token_hex(6)}"
        films = ["50", "172", "181"]
        events = [{"user_id": user, "product_id": film, "type": "rating", "value": 5} for film in films]
        response = client.post("/v1/events", json={"events": events})
        assert response.status_code == 202, response.text
        body = client.get(
            "/v1/recommendations", params={"user_id": user, "limit": 20}, headers={TOKEN: response.headers[TOKEN]}
        ).json()
        stages = {stage["name"]: stage for stage in body["stages"]}
        assert stages["collaborative"]["status"] == "ok"
        shown = [hit["id"] for hit in body["hits"]]
        assert not set(films) & set(shown)
        popular = client.get("/v1/recommendations", params={"limit": 20}).json()
        assert shown != [hit["id"] for hit in popular["hits"]]
