from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from catalogue.events import Event
from catalogue.products import BatchProduct
from contracts.requests import ReadRequest
from contracts.stages import Stage
from contracts.versions import Versions
from contracts.writes import EventsAdded
from deployments.admission import Admission, AdmissionConfig
from deployments.http.api import http_api
from deployments.http.problems import unacknowledged
from deployments.http.schemas import ReadBody
from tests.deployments.memory_shop import MemoryShop


@pytest.fixture
def shop() -> MemoryShop:
    shop = MemoryShop()
    shop.products = {name: BatchProduct(id=name, title=f"The {name}") for name in ("p1", "p2", "p3")}
    return shop


@pytest.fixture
async def client(shop: MemoryShop) -> AsyncIterator[httpx.AsyncClient]:
    app = http_api(shop, Admission(AdmissionConfig(max_body_bytes=64 * 1024)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        yield client


def problem(response: httpx.Response) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["request_id"]
    return body


class TestSearch:
    async def test_an_answer_has_the_shape_of_the_contract(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/v1/search", params={"q": "anything", "explain": "true"})
        assert response.status_code == 200
        body = ReadBody.model_validate_json(response.content)
        assert [hit.id for hit in body.hits] == ["p1", "p2", "p3"]
        assert (body.total.value, body.total.relation) == (3, "eq")

    async def test_the_body_of_a_post_means_what_the_query_string_means(
        self, client: httpx.AsyncClient, shop: MemoryShop
    ) -> None:
        wanted: dict[str, Any] = {
            "q": "a b",
            "user_id": "7",
            "limit": 3,
            "explain": True,
            "mode": "keyword",
            "price_max": 9.5,
        }
        await client.get("/v1/search", params={**wanted, "explain": "true"})
        await client.post("/v1/search", json=wanted)
        assert shop.asked[0].model_dump() == shop.asked[1].model_dump()

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({}, "q"),
            ({"q": ""}, "q"),
            ({"q": "   "}, "q"),
            ({"q": "x" * 501}, "q"),
            ({"q": "a\x00b"}, "q"),
            ({"q": "a", "limit": "0"}, "limit"),
            ({"q": "a", "limit": "101"}, "limit"),
            ({"q": "a", "limit": "many"}, "limit"),
            ({"q": "a", "mode": "psychic"}, "mode"),
            ({"q": "a", "user_id": "u" * 129}, "user_id"),
            ({"q": "a", "price_min": "NaN"}, "price_min"),
            ({"q": "a", "price_min": "-1"}, "price_min"),
            ({"q": "a", "colour": "red"}, "colour"),
            ({"q": "a", "cursor": "nonsense"}, "cursor"),
        ],
    )
    async def test_what_is_wrong_is_named(self, client: httpx.AsyncClient, params: dict[str, str], field: str) -> None:
        response = await client.get("/v1/search", params=params)
        assert response.status_code == 422
        body = problem(response)
        assert body["code"] == "invalid"
        assert not body["retryable"]
        assert field in [error["field"] for error in body["errors"]]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"q": 7}, "q"),
            ({"q": "a", "limit": "5"}, "limit"),
            ({"q": "a", "limit": True}, "limit"),
            ({"q": "a", "explain": "true"}, "explain"),
            ({"q": "a", "user_id": 7}, "user_id"),
            ({"q": "a", "colour": "red"}, "colour"),
            ([], "body"),
        ],
    )
    async def test_json_is_strict(self, client: httpx.AsyncClient, body: object, field: str) -> None:
        response = await client.post("/v1/search", json=body)
        assert response.status_code == 422
        assert field in [error["field"] for error in problem(response)["errors"]]

    @pytest.mark.parametrize(
        "content", [b"{", b"", b'{"q": NaN}', b"\xff\xfe", b'{"q": "\\ud800"}', b"[" * 5000], ids=repr
    )
    async def test_what_is_not_json_cannot_be_parsed(self, client: httpx.AsyncClient, content: bytes) -> None:
        response = await client.post("/v1/search", content=content, headers={"content-type": "application/json"})
        assert response.status_code == 400
        assert problem(response)["code"] == "malformed"

    async def test_the_line_that_is_not_json_is_named(self, client: httpx.AsyncClient) -> None:
        headers = {"content-type": "application/json"}
        response = await client.post("/v1/search", content=b'{"q": "a",\n "limit": }', headers=headers)
        assert [(error["line"], error["field"]) for error in problem(response)["errors"]] == [(2, "")]

    async def test_another_media_type_is_refused(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/search", content=b"q=a", headers={"content-type": "text/plain"})
        assert problem(response)["status"] == 415

    async def test_what_an_answer_shows_is_noted_under_its_request_id(
        self, client: httpx.AsyncClient, shop: MemoryShop
    ) -> None:
        body = (await client.get("/v1/search", params={"q": "a"})).json()
        assert shop.shown_ids == {body["request_id"]: ["p1", "p2", "p3"]}

    async def test_a_field_named_like_a_place_is_named(self, client: httpx.AsyncClient) -> None:
        for response in (
            await client.get("/v1/search", params={"q": "a", "query": "b"}),
            await client.post("/v1/search", json={"q": "a", "query": "b"}),
        ):
            assert [error["field"] for error in problem(response)["errors"]] == ["query"]

    async def test_a_body_of_no_stated_type_is_refused(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/search", content=b'{"q": "a"}')
        assert problem(response)["status"] == 415

    async def test_prices_out_of_order_are_refused(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/v1/search", params={"q": "a", "price_min": 5, "price_max": 4})
        assert problem(response)["errors"] == [
            {"field": "price_max", "message": "price_min must not be above price_max"}
        ]

    async def test_a_parameter_given_twice_is_refused(self, client: httpx.AsyncClient) -> None:
        response = await client.get("/v1/search?q=a&q=b")
        assert problem(response)["errors"] == [{"field": "q", "message": "is given more than once"}]


class TestDegradation:
    async def test_a_degraded_answer_says_so_in_body_and_header(
        self, client: httpx.AsyncClient, shop: MemoryShop
    ) -> None:
        shop.stages = [Stage("semantic", "fallback", fallback="keyword", cause="artifact_missing"), Stage("rank")]
        response = await client.get("/v1/search", params={"q": "a"})
        assert response.status_code == 200
        assert response.json()["degraded"]
        assert response.headers["x-degraded"] == "semantic=artifact_missing"

    async def test_a_healthy_answer_has_no_such_header(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        shop.stages = [Stage("profile", "skipped", cause="unknown_user"), Stage("keyword", cause="no_match")]
        response = await client.get("/v1/search", params={"q": "a", "degradation": "forbid"})
        assert response.status_code == 200
        assert not response.json()["degraded"]
        assert "x-degraded" not in response.headers

    async def test_forbid_refuses_when_the_hits_may_differ(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        shop.stages = [Stage("rank", "fallback", fallback="popularity", cause="unavailable")]
        response = await client.get("/v1/search", params={"q": "a", "degradation": "forbid"})
        assert response.status_code == 503
        body = problem(response)
        assert (body["code"], body["retryable"]) == ("degraded", True)
        assert response.headers["retry-after"] == "1"
        assert shop.shown_ids == {}, "nobody was shown the answer"

    @pytest.mark.parametrize(
        "stage",
        [
            Stage("hydrate", "fallback", source="primary", fallback="primary", cause="replica_lag"),
            Stage("cache", "fallback", fallback="database", cause="unavailable"),
        ],
        ids=["replica_lag", "cache"],
    )
    async def test_forbid_accepts_another_source(
        self, client: httpx.AsyncClient, shop: MemoryShop, stage: Stage
    ) -> None:
        shop.stages = [stage]
        response = await client.get("/v1/search", params={"q": "a", "degradation": "forbid"})
        assert response.status_code == 200
        assert response.json()["degraded"]

    async def test_nothing_left_to_answer_with_is_503(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        shop.answered = False
        shop.stages = [Stage("keyword", "skipped", cause="unavailable")]
        assert problem(await client.get("/v1/search", params={"q": "a"}))["code"] == "unavailable"

    async def test_a_deadline_missed_with_nothing_to_show_is_504(
        self, client: httpx.AsyncClient, shop: MemoryShop
    ) -> None:
        shop.answered = False
        shop.stages = [Stage("keyword", "skipped", cause="timeout")]
        assert problem(await client.get("/v1/search", params={"q": "a"}))["code"] == "deadline"


class TestPages:
    async def test_the_cursor_leads_through_all_hits_once(self, client: httpx.AsyncClient) -> None:
        seen: list[str] = []
        params: dict[str, Any] = {"q": "a", "limit": 2}
        while True:
            body = (await client.get("/v1/search", params=params)).json()
            seen += [hit["id"] for hit in body["hits"]]
            if body["next_cursor"] is None:
                break
            params["cursor"] = body["next_cursor"]
        assert seen == ["p1", "p2", "p3"]

    async def test_a_cursor_expires_when_a_version_changes(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        cursor = (await client.get("/v1/search", params={"q": "a", "limit": 1})).json()["next_cursor"]
        shop.versions = Versions(index="i2")
        response = await client.get("/v1/search", params={"q": "a", "limit": 1, "cursor": cursor})
        assert (response.status_code, problem(response)["code"]) == (410, "cursor_expired")

    async def test_a_cursor_belongs_to_its_request(self, client: httpx.AsyncClient) -> None:
        cursor = (await client.get("/v1/search", params={"q": "a", "limit": 1})).json()["next_cursor"]
        response = await client.get("/v1/search", params={"q": "b", "limit": 1, "cursor": cursor})
        assert problem(response)["errors"][0]["field"] == "cursor"


class TestRecommendations:
    @pytest.mark.parametrize(
        ("params", "kind"),
        [
            ({}, "popular"),
            ({"user_id": "7"}, "for_user"),
            ({"product_ids": ["p1", "p2"]}, "similar"),
            ({"user_id": "7", "product_ids": ["p1"]}, "for_user"),
            ({"user_id": "7", "type": "popular"}, "popular"),
        ],
    )
    async def test_the_type_follows_from_the_subject(
        self, client: httpx.AsyncClient, shop: MemoryShop, params: dict[str, Any], kind: str
    ) -> None:
        await client.get("/v1/recommendations", params=params)
        request: ReadRequest = shop.asked[0]
        assert getattr(request, "kind") == kind  # noqa: B009 - the request is one for recommendations

    @pytest.mark.parametrize(("kind", "field"), [("for_user", "user_id"), ("similar", "product_ids")])
    async def test_a_type_without_its_subject_is_refused(
        self, client: httpx.AsyncClient, kind: str, field: str
    ) -> None:
        response = await client.post("/v1/recommendations", json={"type": kind})
        assert problem(response)["errors"] == [{"field": "type", "message": f"{kind} needs {field}"}]

    async def test_excluded_products_do_not_appear(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/recommendations", json={"exclude_ids": ["p1", "p3"]})
        assert [hit["id"] for hit in response.json()["hits"]] == ["p2"]


class TestProducts:
    async def test_what_is_put_can_be_read(self, client: httpx.AsyncClient) -> None:
        written = await client.put("/v1/products/p9", json={"title": "Nine", "price": 9.5, "currency": "EUR"})
        assert (written.status_code, written.json()["changed"]) == (200, 1)
        read = (await client.get("/v1/products/p9")).json()
        assert (read["id"], read["title"], read["price"], read["in_stock"]) == ("p9", "Nine", 9.5, True)

    async def test_the_id_in_the_body_must_be_that_of_the_path(self, client: httpx.AsyncClient) -> None:
        response = await client.put("/v1/products/p9", json={"id": "p8", "title": "Nine"})
        assert problem(response)["errors"][0]["field"] == "id"

    async def test_a_batch_keeps_the_good_and_names_the_bad(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        batch = [{"id": "a", "title": "A"}, {"id": "b"}, {"id": "c", "title": "C", "price": "free"}]
        response = await client.post("/v1/products", json={"products": batch})
        body = response.json()
        assert (response.status_code, body["accepted"], body["rejected"]) == (200, 1, 2)
        assert [(error["index"], error["field"]) for error in body["errors"]] == [(1, "title"), (2, "price")]
        assert {"a"} == shop.products.keys() - {"p1", "p2", "p3"}

    async def test_a_batch_without_a_good_item_is_refused(self, client: httpx.AsyncClient) -> None:
        response = await client.post("/v1/products", json={"products": [{"id": "a"}]})
        assert response.status_code == 422
        assert problem(response)["errors"][0]["field"] == "products[0].title"

    async def test_what_is_no_object_is_named_by_its_place(self, client: httpx.AsyncClient) -> None:
        batch = [{"id": "a", "title": "A"}, 7, ["b"]]
        body = (await client.post("/v1/products", json=batch)).json()
        wrong = {"field": "", "message": "must be a JSON object"}
        assert (body["accepted"], body["errors"]) == (1, [{"index": 1, **wrong}, {"index": 2, **wrong}])
        refused = problem(await client.post("/v1/products", json=batch[1:]))
        assert [error["field"] for error in refused["errors"]] == ["products[0]", "products[1]"]

    async def test_of_a_field_given_twice_the_last_counts(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        headers = {"content-type": "application/json"}
        await client.put("/v1/products/p9", content=b'{"title": "One", "title": "Two"}', headers=headers)
        assert shop.products["p9"].title == "Two"

    async def test_a_deleted_product_is_gone(self, client: httpx.AsyncClient) -> None:
        assert (await client.delete("/v1/products/p1")).status_code == 204
        assert problem(await client.get("/v1/products/p1"))["code"] == "not_found"
        assert problem(await client.delete("/v1/products/p1"))["code"] == "not_found"

    async def test_an_id_of_ten_thousand_characters_is_refused(self, client: httpx.AsyncClient) -> None:
        response = await client.put(f"/v1/products/{'x' * 10_000}", json={"title": "A"})
        assert problem(response)["errors"][0]["field"] == "product_id"

    async def test_an_id_may_hold_any_printable_character(self, client: httpx.AsyncClient) -> None:
        url = httpx.URL("/v1/products/").join("sku%2F%20%C3%A9%3F%23")
        assert (await client.put(url, json={"title": "A"})).status_code == 200
        assert (await client.get(url)).json()["id"] == "sku/ é?#"


class TestEvents:
    async def test_events_are_accepted_and_counted_once(self, client: httpx.AsyncClient) -> None:
        events = [{"id": "e1", "user_id": "u", "product_id": "p1", "type": "view"}]
        first = await client.post("/v1/events", json={"events": events})
        again = await client.post("/v1/events", json={"events": events})
        assert (first.status_code, first.json()["accepted"]) == (202, 1)
        assert (again.json()["accepted"], again.json()["duplicates"]) == (0, 1)

    @pytest.mark.parametrize(
        ("event", "field"),
        [
            ({"product_id": "p", "type": "view"}, "user_id"),
            ({"user_id": "u", "product_id": "p", "type": "glance"}, "type"),
            ({"user_id": 5, "product_id": "p", "type": "view"}, "user_id"),
            ({"user_id": "u", "product_id": "p", "type": "view", "timestamp": "3000-01-01T00:00:00Z"}, "timestamp"),
            ({"user_id": "u", "product_id": "p", "type": "rating"}, "value"),
        ],
    )
    async def test_a_wrong_event_is_named(
        self, client: httpx.AsyncClient, event: dict[str, object], field: str
    ) -> None:
        response = await client.post("/v1/events", json={"events": [event]})
        assert problem(response)["errors"][0]["field"] == f"events[0].{field}"


class TestUnacknowledged:
    @pytest.mark.parametrize(
        ("undone", "outcome", "said"),
        [(True, "not_written", "Nothing was written"), (False, "unknown", "may or may not")],
    )
    async def test_a_write_that_failed_says_whether_it_may_have_been_made(
        self, shop: MemoryShop, client: httpx.AsyncClient, undone: bool, outcome: str, said: str
    ) -> None:
        async def fail(events: list[Event], *, size_bytes: int) -> EventsAdded:  # noqa: ARG001 - as it is called
            raise unacknowledged("timeout", undone=undone, retry_in_s=2.1)

        shop.add_events = fail  # type: ignore[method-assign]
        response = await client.post("/v1/events", json=[{"user_id": "u", "product_id": "p1", "type": "view"}])
        body = problem(response)
        assert (response.status_code, response.headers["retry-after"]) == (503, "3")
        assert (body["code"], body["cause"], body["outcome"], body["retryable"]) == (
            "unavailable",
            "timeout",
            outcome,
            True,
        )
        assert said in body["detail"]


class TestConsistencyToken:
    async def test_every_write_returns_one(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        event = {"user_id": "u", "product_id": "p1", "type": "view"}
        answers = [
            await client.put("/v1/products/p9", json={"title": "Nine"}),
            await client.post("/v1/products", json=[{"id": "p9", "title": "Nine"}]),
            await client.post("/v1/events", json=[event]),
            await client.delete("/v1/products/p9"),
        ]
        assert [answer.headers["x-consistency-token"] for answer in answers] == [shop.token] * 4

    async def test_it_is_absent_where_the_primary_cannot_say(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        shop.token = None
        answer = await client.put("/v1/products/p9", json={"title": "Nine"})
        assert (answer.status_code, "x-consistency-token" in answer.headers) == (200, False)


class TestRoutes:
    @pytest.mark.parametrize(("method", "path", "code"), [("GET", "/v1/nothing", 404), ("PATCH", "/v1/search", 405)])
    async def test_what_is_not_there_is_a_problem(
        self, client: httpx.AsyncClient, method: str, path: str, code: int
    ) -> None:
        response = await client.request(method, path)
        assert problem(response)["status"] == code


class TestHealth:
    async def test_ready_is_503_when_nothing_can_be_answered(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        assert (await client.get("/health/ready")).status_code == 200
        shop.is_ready = False
        assert problem(await client.get("/health/ready"))["code"] == "not_ready"


class TestPage:
    @pytest.mark.parametrize("path", ["/", "/playground/main.js"])
    async def test_its_files_are_asked_for_anew_each_time(self, client: httpx.AsyncClient, path: str) -> None:
        response = await client.get(path)
        assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")


class TestDocument:
    async def test_openapi_describes_every_route_with_valid_schemas(self, client: httpx.AsyncClient) -> None:
        document = (await client.get("/openapi.json")).json()
        assert set(document["paths"]) == {
            "/v1/search",
            "/v1/recommendations",
            "/v1/products",
            "/v1/products/{product_id}",
            "/v1/events",
            "/v1/users",
            "/health",
            "/health/live",
            "/health/ready",
        }
        for path in document["paths"].values():
            for operation in path.values():
                for status, response in operation["responses"].items():
                    expected = "application/problem+json" if int(status) >= 400 else "application/json"
                    assert set(response.get("content", {expected: {}})) == {expected}
                for body in operation.get("requestBody", {}).get("content", {}).values():
                    Draft202012Validator.check_schema(body["schema"])
        for path in ("/v1/products", "/v1/events"):
            bodies = document["paths"][path]["post"]["requestBody"]["content"]
            assert set(bodies) == {"application/json", "application/x-ndjson"}

    async def test_the_documentation_page_needs_nothing_from_elsewhere(self, client: httpx.AsyncClient) -> None:
        page = (await client.get("/docs")).text
        assert "/static-offline-docs/swagger-ui-bundle.js" in page
        assert "https://" not in page
