from __future__ import annotations

import os
import signal
import subprocess
import sys
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

GATEWAY = """
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

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

    def answering(self) -> set[int]:
        """Which gateways answer a few requests."""
        answers = [self.client.get("/") for _ in range(6)]
        return {int(answer.text) for answer in answers if answer.is_success}


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory("shortlist-front-") as directory:
        yield directory


def started(directory: Path, gateways: int) -> Iterator[Front]:
    stats, metrics, port, *ports = free_ports(3 + gateways)
    backend = BackendConfig(
        name="http-shortlist",
        path_prefix="/",
        app_name="shortlist",
        servers=[ServerConfig(name=f"g{each}", host="127.0.0.1", port=each) for each in ports],
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
    processes = [subprocess.Popen([sys.executable, "-c", GATEWAY, str(each)]) for each in ports]
    front = subprocess.Popen(
        [sys.executable, "-m", "cluster.haproxy_front", "-db", "-f", str(directory / "cfg")],
        env={**os.environ, "RAY_SERVE_HAPROXY_BINARY_PATH": sys.executable},
    )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            lent = Front(client, processes)
            if gateways:
                assert wait_until(lambda: listens(client) and len(lent.answering()) == gateways, timeout_s=60)
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
