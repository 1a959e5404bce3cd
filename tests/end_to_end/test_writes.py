from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from cluster.child import wait_until
from cluster.local_postgres import LocalPostgres
from cluster.postgres import DATABASE
from cluster.state_directory import StateDirectory
from tests.stack import Stack

pytestmark = pytest.mark.stack

Ask = Callable[[str], str]


@pytest.fixture
def primary(stack: Stack) -> Ask:
    """One value from the primary, as text."""
    server = LocalPostgres.of(StateDirectory(stack.state_dir)).primary
    return lambda query: server.query(query, database=DATABASE)


@pytest.fixture
def product_id(client: httpx.Client) -> Any:  # noqa: ANN401 - a generator of one id
    name = f"made-{uuid.uuid4().hex[:8]}"
    yield name
    client.delete(f"/v1/products/{name}")


class TestProducts:
    def test_a_new_product_is_found_by_its_words(self, client: httpx.Client, product_id: str) -> None:
        written = client.put(f"/v1/products/{product_id}", json={"title": "Quixotic Zeppelin", "price": 12.5})
        assert written.status_code == 200, written.text
        assert client.get(f"/v1/products/{product_id}").json()["price"] == 12.5

        def found() -> bool:
            hits = client.get("/v1/search", params={"q": "quixotic zeppelin"}).json()["hits"]
            return product_id in [hit["id"] for hit in hits]

        assert wait_until(found, timeout_s=10)

    def test_a_product_out_of_stock_is_not_shown_unless_asked_for(self, client: httpx.Client, product_id: str) -> None:
        client.put(f"/v1/products/{product_id}", json={"title": "Quixotic Dirigible", "in_stock": False})

        def found(**params: str) -> bool:
            hits = client.get("/v1/search", params={"q": "quixotic dirigible", **params}).json()["hits"]
            return product_id in [hit["id"] for hit in hits]

        assert wait_until(lambda: found(in_stock="false"), timeout_s=10)
        assert not found()

    def test_a_deleted_product_is_gone_at_once(self, client: httpx.Client, product_id: str) -> None:
        client.put(f"/v1/products/{product_id}", json={"title": "Quixotic Balloon"})
        assert client.delete(f"/v1/products/{product_id}").status_code == 204
        assert client.get(f"/v1/products/{product_id}").status_code == 404

    def test_a_batch_keeps_what_is_good(self, client: httpx.Client, product_id: str) -> None:
        batch = [{"id": product_id, "title": "Good"}, {"id": "bad", "title": "Bad", "price": "free"}]
        response = client.post("/v1/products", json={"products": batch})
        assert (response.status_code, response.json()["accepted"], response.json()["rejected"]) == (200, 1, 1)
        assert response.json()["errors"][0]["field"] == "price"
        assert client.get("/v1/products/bad").status_code == 404


class TestEvents:
    def test_an_acknowledged_event_is_committed_and_counts_once(self, client: httpx.Client, primary: Ask) -> None:
        event_id = f"e-{uuid.uuid4().hex}"
        event = {"id": event_id, "user_id": f"u-{event_id}", "product_id": "50", "type": "view"}
        for expected in (1, 0):
            response = client.post("/v1/events", json={"events": [event]})
            assert (response.status_code, response.json()["accepted"]) == (202, expected)
        assert primary(f"select count(*) from events where id = '{event_id}'") == "1"  # noqa: S608 - an id made here


class TestImpressions:
    def test_what_an_answer_showed_is_written_down_afterwards(self, client: httpx.Client, primary: Ask) -> None:
        body = client.get("/v1/search", params={"q": "alien", "user_id": "5"}).json()
        where = f"from impressions where request_id = '{body['request_id']}'"
        assert wait_until(lambda: primary(f"select count(*) {where}") == "1", timeout_s=15)
        shown = ",".join(hit["id"] for hit in body["hits"])
        assert primary(f"select kind, query, user_id, array_to_string(product_ids, ',') {where}") == (
            f"search|alien|5|{shown}"
        )
