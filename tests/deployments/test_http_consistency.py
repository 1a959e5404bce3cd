from __future__ import annotations

from typing import Any

import httpx
import pytest

from contracts.stages import Stage
from tests.deployments.memory_shop import MemoryShop
from tests.deployments.test_http_api import client, problem, shop

__all__ = ["client", "shop"]

STALE_INDEX = Stage("semantic", "fallback", "faiss", "stale index", "timeout")
READS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", "/v1/search", {"params": {"q": "a"}}),
    ("POST", "/v1/search", {"json": {"q": "a"}}),
    ("GET", "/v1/recommendations", {}),
    ("POST", "/v1/recommendations", {"json": {}}),
]


class TestConsistencyToken:
    @pytest.mark.parametrize(("method", "path", "request_"), READS)
    async def test_every_read_takes_it_in_the_header(
        self, client: httpx.AsyncClient, shop: MemoryShop, method: str, path: str, request_: dict[str, Any]
    ) -> None:
        response = await client.request(method, path, headers={"X-Consistency-Token": "1-0/3A"}, **request_)
        assert response.status_code == 200
        assert shop.asked[0].consistency_token == "1-0/3A"

    async def test_the_request_itself_may_carry_it(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        assert (await client.get("/v1/search", params={"q": "a", "consistency_token": "1-0/3A"})).status_code == 200
        assert shop.asked[0].consistency_token == "1-0/3A"

    @pytest.mark.parametrize(
        ("headers", "params", "field"),
        [
            ({"X-Consistency-Token": "yesterday"}, {}, "X-Consistency-Token"),
            ({"X-Consistency-Token": ""}, {}, "X-Consistency-Token"),
            ({}, {"consistency_token": "yesterday"}, "consistency_token"),
            ({"X-Consistency-Token": "1-0/3A"}, {"consistency_token": "1-0/3B"}, "X-Consistency-Token"),
        ],
    )
    async def test_what_is_no_token_or_another_one_is_refused_by_name(
        self, client: httpx.AsyncClient, headers: dict[str, str], params: dict[str, str], field: str
    ) -> None:
        body = problem(await client.get("/v1/search", params={"q": "a", **params}, headers=headers))
        assert (body["status"], body["errors"][0]["field"]) == (422, field)


class TestWithoutADatabaseThatSawTheWrite:
    @pytest.mark.parametrize(
        ("stages", "lacks"),
        [
            ([Stage("keyword", "skipped", cause="timeout"), Stage("semantic")], True),
            ([Stage("keyword"), Stage("semantic"), Stage("hydrate", "skipped", cause="unavailable")], True),
            (
                [
                    Stage("keyword", cause="not_requested"),
                    Stage("semantic", "fallback", "faiss", "stale index", "timeout"),
                ],
                True,
            ),
            ([Stage("keyword"), Stage("semantic", "fallback", "faiss", "stale index", "timeout")], False),
            ([Stage("keyword"), Stage("rank", "fallback", fallback="popularity", cause="unavailable")], False),
            ([Stage("keyword", "fallback", fallback="primary", cause="unavailable")], False),
        ],
    )
    async def test_the_answer_says_whether_it_may_lack_the_write(
        self, client: httpx.AsyncClient, shop: MemoryShop, stages: list[Stage], *, lacks: bool
    ) -> None:
        shop.stages = stages
        response = await client.get("/v1/search", params={"q": "a", "consistency_token": "1-0/3A"})
        assert (response.status_code, response.json()["freshness"]["consistent"]) == (200, not lacks)

    async def test_who_forbids_degradation_gets_no_answer_without_it(
        self, client: httpx.AsyncClient, shop: MemoryShop
    ) -> None:
        shop.stages = [Stage("keyword", "skipped", cause="timeout"), Stage("semantic")]
        asked = {"q": "a", "consistency_token": "1-0/3A", "degradation": "forbid"}
        response = await client.get("/v1/search", params=asked)
        assert (response.status_code, problem(response)["code"]) == (503, "degraded")

    async def test_without_a_token_there_is_nothing_to_say(self, client: httpx.AsyncClient, shop: MemoryShop) -> None:
        shop.stages = [Stage("keyword", "skipped", cause="timeout"), Stage("semantic")]
        response = await client.get("/v1/search", params={"q": "a"})
        assert response.json()["freshness"]["consistent"] is None
