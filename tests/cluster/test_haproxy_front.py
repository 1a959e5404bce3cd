from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions

from cluster.child import wait_until
from cluster.ports import free_ports
from cluster.serve_settings import NOTICING
from tests.directories import short_directory

# Writes down what it is asked; what names `hang` it never answers, what names `slow` after 1.5 s.
GATEWAY = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with open(sys.argv[2], "a") as asked:
            asked.write(self.command + " " + self.path + "\\n")
        time.sleep(60 if "hang" in self.path else 1.5 if "slow" in self.path else 0)
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    do_PUT = do_POST

    def log_message(self, *arguments):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Gateway).serve_forever()
"""
PROBLEM = {"type", "title", "status", "detail", "code", "request_id", "retryable", "errors"}


@dataclass(frozen=True)
class Front:
    """HAProxy with the configuration that Serve writes, before some gateways."""

    client: httpx.Client
    gateways: list[subprocess.Popen[bytes]]
    asked: Path

    def answering(self) -> set[int]:
        """Which gateways answer a few requests."""
        answers = [self.client.get("/") for _ in range(6)]
        return {int(answer.text) for answer in answers if answer.is_success}

    def times_asked(self, what: str) -> int:
        """How many requests that name *what* reached a gateway."""
        return sum(what in line for line in self.asked.read_text().splitlines())


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory("shortlist-front-") as directory:
        yield directory


def started(directory: Path, gateways: int, *, proxy: bool = False) -> Iterator[Front]:
    """HAProxy before so many *gateways*, the last of them in the place of Serve's own proxy if *proxy*."""
    stats, metrics, port, *ports = free_ports(3 + gateways)
    servers = [ServerConfig(name=f"g{each}", host="127.0.0.1", port=each) for each in ports]
    backend = BackendConfig(
        name="http-shortlist",
        path_prefix="/",
        app_name="shortlist",
        servers=servers[:-1] if proxy else servers,
        fallback_server=servers[-1] if proxy else None,
        health_check_inter=NOTICING["RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER"],
        health_check_rise=int(NOTICING["RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE"]),
    )
    config = HAProxyConfig(
        http_options=HTTPOptions(host="127.0.0.1", port=port),
        socket_path=str(directory / "admin"),
        server_state_base=str(directory),
        server_state_file=str(directory / "state"),
        metrics_socket_path=str(directory / "metrics"),
        stats_port=stats,
        metrics_port=metrics,
    )
    written = HAProxyApi(
        config, {"http-shortlist": backend} if gateways else {}, config_file_path=str(directory / "cfg")
    )
    written._generate_config_file_internal()
    asked = directory / "asked"
    processes = [subprocess.Popen([sys.executable, "-c", GATEWAY, str(each), str(asked)]) for each in ports]
    front = subprocess.Popen(
        [sys.executable, "-m", "cluster.haproxy_front", "-db", "-f", str(directory / "cfg")],
        env={**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": sys.executable},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            lent = Front(client, processes, asked)
            if gateways:
                assert wait_until(lambda: listens(client) and len(lent.answering()) == gateways - proxy, timeout_s=60)
            else:
                assert wait_until(lambda: listens(client), timeout_s=60)
            yield lent
    finally:
        for process in (front, *processes):
            process.kill()
            process.wait()


def listens(client: httpx.Client) -> bool:
    try:
        client.get("/")
    except httpx.TransportError:
        return False
    return True


@pytest.fixture
def front(directory: Path) -> Iterator[Front]:
    yield from started(directory, gateways=2)


@pytest.fixture
def empty(directory: Path) -> Iterator[Front]:
    yield from started(directory, gateways=0)


@pytest.fixture
def last(directory: Path) -> Iterator[Front]:
    """One gateway, and what stands in for Serve's own proxy."""
    yield from started(directory, gateways=2, proxy=True)


class TestAmended:
    def test_a_gateway_that_was_killed_costs_no_request(self, front: Front) -> None:
        first, second = front.gateways
        first.kill()
        first.wait()
        assert front.answering() == {second.pid}
        assert [front.client.post("/", json={}).status_code for _ in range(4)] == [200] * 4

    def test_a_read_that_meets_a_frozen_gateway_is_answered_by_another(self, front: Front) -> None:
        first, second = front.gateways
        os.kill(first.pid, signal.SIGSTOP)
        assert [front.client.get("/", params={"timeout_ms": 10}).text for _ in range(4)] == [str(second.pid)] * 4

    @pytest.mark.parametrize("path", ["/v1/search", "/v1/recommendations"])
    def test_so_is_a_read_by_post_that_says_its_deadline_in_its_body(self, front: Front, path: str) -> None:
        first, second = front.gateways
        os.kill(first.pid, signal.SIGSTOP)
        asked = {"q": "star", "timeout_ms": 10}
        assert [front.client.post(path, json=asked).text for _ in range(4)] == [str(second.pid)] * 4

    @pytest.mark.parametrize(
        ("method", "path", "body", "attempts"),
        [
            ("GET", "/v1/search?hang&timeout_ms=10", None, 2),
            ("POST", "/v1/search?hang", {"q": "star", "timeout_ms": 10}, 2),
            ("POST", "/v1/recommendations?hang&timeout_ms=10", {}, 2),
            ("POST", "/v1/search?hang", {"q": "star" * 8192, "timeout_ms": 10}, 1),
        ],
    )
    def test_a_read_that_nobody_answers_is_asked_twice_at_most_and_refused_soon_after_its_deadline(
        self, front: Front, method: str, path: str, body: dict[str, object] | None, attempts: int
    ) -> None:
        began_s = time.monotonic()
        answer = front.client.request(method, path, json=body)
        assert (answer.status_code, answer.json()["code"]) == (504, "deadline")
        assert time.monotonic() - began_s < 2.5
        assert front.times_asked("hang") == attempts

    def test_a_read_waits_at_serves_proxy_while_no_gateway_is_up(self, last: Front) -> None:
        gateway, proxy = last.gateways
        gateway.kill()
        gateway.wait()
        assert wait_until(lambda: last.answering() == {proxy.pid}, timeout_s=60)
        assert last.client.get("/v1/search?slow&timeout_ms=10").text == str(proxy.pid)
        assert last.times_asked("slow") == 1

    @pytest.mark.parametrize(("method", "path"), [("POST", "/v1/events?hang"), ("PUT", "/v1/products/1?hang")])
    def test_a_write_is_asked_once(self, front: Front, method: str, path: str) -> None:
        with pytest.raises(httpx.ReadTimeout):
            front.client.request(method, path, json={"timeout_ms": 10}, timeout=3)
        assert front.times_asked("hang") == 1

    def test_a_gateway_that_thaws_is_asked_again(self, front: Front) -> None:
        first, second = front.gateways
        os.kill(first.pid, signal.SIGSTOP)
        assert front.answering() == {second.pid}
        os.kill(first.pid, signal.SIGCONT)
        assert wait_until(lambda: front.answering() == {first.pid, second.pid}, timeout_s=60)

    def test_what_no_gateway_answers_is_a_problem_document_with_the_requests_id(self, front: Front) -> None:
        for each in front.gateways:
            each.kill()
            each.wait()
        answer = front.client.get("/v1/search", headers={"X-Request-Id": 'a"b\\'})
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
        assert answer.headers["retry-after"] == "1"
        assert answer.json().keys() == PROBLEM
        assert answer.json()["request_id"] == 'a"b\\'

    def test_while_no_application_is_known_it_is_not_the_path_that_is_missing(self, empty: Front) -> None:
        answer = empty.client.get("/v1/search")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
