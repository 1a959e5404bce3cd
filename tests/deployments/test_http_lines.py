"""Bodies of one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from deployments.admission import Admission, AdmissionConfig
from deployments.http.api import http_api
from deployments.http.batches import MAX_ERRORS, MAX_ITEMS
from deployments.http.schemas import EventsWritten, ProblemBody, ProductsWritten
from tests.deployments.memory_shop import MemoryShop

LINES = "application/x-ndjson"
VIEW = {"user_id": "u", "product_id": "p", "type": "view"}


@pytest.fixture
def shop() -> MemoryShop:
    return MemoryShop()


@pytest.fixture
async def client(shop: MemoryShop) -> AsyncIterator[httpx.AsyncClient]:
    app = http_api(shop, Admission(AdmissionConfig()))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        yield client


@pytest.fixture
def send(client: httpx.AsyncClient) -> Callable[..., Any]:
    """POST lines to a path."""

    async def post(path: str, content: bytes, media_type: str = LINES) -> httpx.Response:
        return await client.post(path, content=content, headers={"content-type": media_type})

    return post


def lines(*values: object) -> bytes:
    return b"".join(value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n" for value in values)


def places(body: dict[str, Any]) -> list[tuple[int, str]]:
    return [(error["line"], error["field"]) for error in body["errors"]]


def refused(response: httpx.Response) -> dict[str, Any]:
    assert (response.status_code, response.headers["content-type"]) == (422, "application/problem+json")
    ProblemBody.model_validate_json(response.content)
    body: dict[str, Any] = response.json()
    return body


class TestProducts:
    async def test_good_lines_are_kept_and_wrong_ones_named(self, send: Callable[..., Any], shop: MemoryShop) -> None:
        content = lines(
            {"id": "a", "title": "A"},
            b"\n",
            b'{"id": "b", "title": \n',
            {"id": "c", "title": "C", "price": "free"},
            {"id": "x" * 10_000, "title": "D"},
            {"id": "e", "title": "E", "colour": "red"},
            b"[]\n",
            {"id": "g", "title": "G"},
        )
        response = await send("/v1/products", content)
        body = ProductsWritten.model_validate_json(response.content)
        assert (response.status_code, body.accepted, body.rejected) == (200, 2, 5)
        assert places(response.json()) == [(3, ""), (4, "price"), (5, "id"), (6, "colour"), (7, "")]
        assert sorted(shop.products) == ["a", "g"]

    async def test_a_line_that_is_not_json_says_where(self, send: Callable[..., Any]) -> None:
        body = refused(await send("/v1/products", b'{"id": "b", "title": \n'))
        assert body["errors"] == [
            {"line": 1, "field": "", "message": "is not JSON (column 22): unexpected end of data"}
        ]
        assert body["detail"] == "line 1: is not JSON (column 22): unexpected end of data"

    @pytest.mark.parametrize("price", [b'"free"', b"NaN", b"Infinity", b"1e999", b"true", b"-1", b"[]"])
    async def test_a_price_that_is_none_is_an_error_of_its_line(
        self, send: Callable[..., Any], shop: MemoryShop, price: bytes
    ) -> None:
        response = await send(
            "/v1/products", lines({"id": "a", "title": "A"}, b'{"id":"b","title":"B","price":%b}' % price)
        )
        ((line, field),) = places(response.json())
        assert line == 2
        assert field == "price"
        assert sorted(shop.products) == ["a"]

    async def test_when_no_line_is_good_each_wrong_field_is_named(self, send: Callable[..., Any]) -> None:
        body = refused(await send("/v1/products", lines({"id": "a"}, b"\n", {"id": "b", "title": "", "price": "1"})))
        assert places(body) == [(1, "title"), (3, "title"), (3, "price")]
        assert body["detail"] == "line 1, title: is required (2 more in errors)"

    @pytest.mark.parametrize(
        "content",
        [
            b'{"id": "a", "title": "A"}\r\n\r\n{"id": "b", "title": "B"}\r\n',
            b'\xef\xbb\xbf{"id": "a", "title": "A"}\n{"id": "b", "title": "B"}',
            b'\n \t\n  {"id": "a", "title": "A"}  \n\n\n{"id": "b", "title": "B"}\n\n',
        ],
        ids=["windows line ends", "byte order mark, no newline at the end", "blank lines and spaces"],
    )
    async def test_lines_are_taken_as_they_are_commonly_written(
        self, send: Callable[..., Any], shop: MemoryShop, content: bytes
    ) -> None:
        response = await send("/v1/products", content)
        assert (response.json()["accepted"], response.json()["errors"]) == (2, [])
        assert sorted(shop.products) == ["a", "b"]

    async def test_a_separator_of_lines_in_unicode_separates_none_here(
        self, send: Callable[..., Any], shop: MemoryShop
    ) -> None:
        await send("/v1/products", '{"id": "a", "title": "A", "description": "one\u2028two"}'.encode())
        assert shop.products["a"].description == "one\u2028two"

    async def test_a_line_that_is_not_utf_8_is_an_error_of_that_line(self, send: Callable[..., Any]) -> None:
        response = await send("/v1/products", lines({"id": "a", "title": "A"}, b'{"id": "b", "title": "\xff"}\n'))
        assert response.json()["errors"] == [{"line": 2, "field": "", "message": "is not UTF-8 (byte 23)"}]

    @pytest.mark.parametrize("content", [b"", b"\n", b"\r\n \n", b"\xef\xbb\xbf"])
    async def test_a_body_without_a_line_is_refused(self, send: Callable[..., Any], content: bytes) -> None:
        body = refused(await send("/v1/products", content))
        assert body["errors"] == [{"field": "body", "message": "must hold at least one line"}]

    async def test_a_line_too_many_is_refused_by_number(self, send: Callable[..., Any], shop: MemoryShop) -> None:
        content = lines(b"\n", *({"id": str(number), "title": "T"} for number in range(MAX_ITEMS + 1)))
        assert places(refused(await send("/v1/products", content))) == [(MAX_ITEMS + 2, "")]
        assert not shop.products

    async def test_the_first_thousand_errors_are_named_and_all_counted(self, send: Callable[..., Any]) -> None:
        content = lines({"id": "a", "title": "A"}, b"{\n" * (MAX_ERRORS + 5))
        body = (await send("/v1/products", content)).json()
        assert (body["rejected"], len(body["errors"])) == (MAX_ERRORS + 5, MAX_ERRORS)

    @pytest.mark.parametrize("media_type", [LINES, "application/ndjson", "application/jsonl; charset=utf-8"])
    async def test_its_media_type_has_several_names(self, send: Callable[..., Any], media_type: str) -> None:
        assert (await send("/v1/products", lines({"id": "a", "title": "A"}), media_type)).status_code == 200

    async def test_another_media_type_is_told_what_is_taken(self, send: Callable[..., Any]) -> None:
        response = await send("/v1/products", lines({"id": "a", "title": "A"}), "text/plain")
        assert response.status_code == 415
        assert "application/json or application/x-ndjson" in response.json()["detail"]

    async def test_one_product_is_json_and_no_lines(self, client: httpx.AsyncClient) -> None:
        response = await client.put("/v1/products/a", content=b'{"title": "A"}', headers={"content-type": LINES})
        assert response.status_code == 415


class TestEvents:
    async def test_good_lines_are_kept_and_wrong_ones_named(self, send: Callable[..., Any], shop: MemoryShop) -> None:
        content = lines(
            {**VIEW, "id": "e1", "timestamp": "1999-12-31T23:59:59Z"},
            {**VIEW, "timestamp": "3000-01-01T00:00:00Z"},
            {**VIEW, "timestamp": "1969-12-31T23:59:59Z"},
            {**VIEW, "product_id": "x" * 10_000},
            b'{"user_id": "u"\n',
            {**VIEW, "id": "e6", "timestamp": "1998-01-01T00:00:00Z"},
            {**VIEW, "id": "e1"},
        )
        response = await send("/v1/events", content)
        body = EventsWritten.model_validate_json(response.content)
        assert (response.status_code, body.accepted, body.duplicates, body.rejected) == (202, 2, 1, 4)
        assert places(response.json()) == [(2, "timestamp"), (3, "timestamp"), (4, "product_id"), (5, "")]
        assert sorted(shop.events) == ["e1", "e6"]

    async def test_an_event_of_the_year_3000_alone_is_refused(self, send: Callable[..., Any]) -> None:
        body = refused(await send("/v1/events", lines({**VIEW, "timestamp": "3000-01-01T00:00:00Z"})))
        assert places(body) == [(1, "timestamp")]
        assert "more than a day in the future" in body["detail"]


class TestBodyTooLarge:
    @pytest.mark.parametrize("path", ["/v1/products", "/v1/events"])
    @pytest.mark.parametrize("media_type", [LINES, "application/json"])
    @pytest.mark.parametrize("announced", [True, False])
    async def test_eleven_megabytes_are_refused_whole(
        self, client: httpx.AsyncClient, shop: MemoryShop, path: str, media_type: str, *, announced: bool
    ) -> None:
        content = lines({"id": "a", "title": "A"}) + b" " * 11_000_000

        async def parts() -> AsyncIterator[bytes]:
            for start in range(0, len(content), 1 << 20):
                yield content[start : start + (1 << 20)]

        headers = {"content-type": media_type}
        response = await client.post(path, content=content if announced else parts(), headers=headers)
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")
        assert response.json()["errors"] == [{"field": "body", "message": "must be at most 10485760 bytes"}]
        assert not shop.products
