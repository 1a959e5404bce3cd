"""Answers of a server that speaks as the API does, over a real socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from evaluation.served import NotServed, ServedRecommendations


def stage(name: str, **fields: str | None) -> dict[str, Any]:
    return {"name": name, "status": "ok", "source": None, "fallback": None, "cause": None, "ms": 1.0} | fields


class Api(BaseHTTPRequestHandler):
    """Gives the answers in turn."""

    answers: ClassVar[list[tuple[int, dict[str, Any]]]] = []
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, body = self.answers.pop(0)
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    Api.asked.clear()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def page(ids: list[str], cursor: str | None, *stages: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    hits = [{"id": each, "explain": {"features": {"cf": 0.5}}} for each in ids]
    return 200, {"hits": hits, "next_cursor": cursor, "versions": {"cf": "v1"}, "stages": list(stages)}


class TestServedRecommendations:
    def test_all_pages_are_read_and_each_product_counts_once(self, url: str) -> None:
        Api.answers[:] = [
            page(["a", "b"], "next", stage("profile", source="factors+replica-1")),
            page(["b", "c"], None),
        ]
        with ServedRecommendations(url) as shop:
            found = shop.of("ann")
        assert found.product_ids == ["a", "b", "c"]
        assert (found.version, found.vector, found.degraded) == ("v1", "factors", ())
        assert Api.asked[1]["cursor"] == "next"

    def test_what_stood_in_for_a_part_is_told_but_not_a_healthy_replacement(self, url: str) -> None:
        timed_out = stage("collaborative", status="fallback", fallback="popular", cause="timeout")
        moved = stage("hydrate", status="fallback", fallback="primary", cause="replica_lag")
        unknown = stage("profile", status="skipped", cause="unknown_user")
        Api.answers[:] = [page(["a"], None, timed_out, moved, unknown)]
        with ServedRecommendations(url) as shop:
            found = shop.of("ann")
        assert found.degraded == ("collaborative: popular (timeout)",)
        assert found.vector is None

    def test_it_asks_again_when_it_is_told_to(self, url: str) -> None:
        Api.answers[:] = [(429, {}), page(["a"], None)]
        with ServedRecommendations(url) as shop:
            assert shop.of("ann").product_ids == ["a"]

    def test_an_error_is_told(self, url: str) -> None:
        Api.answers[:] = [(422, {"code": "invalid"})]
        with ServedRecommendations(url) as shop, pytest.raises(NotServed, match=r"422.*invalid"):
            shop.of("ann")

    def test_a_stack_that_does_not_run_is_told(self) -> None:
        with ServedRecommendations("http://127.0.0.1:1") as shop, pytest.raises(NotServed, match="Is the stack up"):
            shop.of("ann")
