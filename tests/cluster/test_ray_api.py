from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from cluster.errors import ClusterError
from cluster.ray_api import RayApi

ANSWER = json.dumps({"applications": {}}).encode()
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"


@contextlib.contextmanager
def breaking_off(times: int) -> Iterator[str]:
    """A server that closes so many connections without an answer before it answers; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                for number in range(times + 1):
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(65536)
                        if number == times:
                            connection.sendall(HEAD % len(ANSWER) + ANSWER)

        thread = threading.Thread(target=serve)
        thread.start()
        yield "http://{}:{}".format(*server.getsockname())
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
    thread.join()


class TestRequests:
    def test_one_that_breaks_off_is_sent_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cluster.ray_api.PAUSE_S", 0.0)
        with breaking_off(2) as address:
            assert RayApi(address, None).applications() == {"applications": {}}

    def test_one_that_keeps_breaking_off_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cluster.ray_api.PAUSE_S", 0.0)
        with breaking_off(50) as address, pytest.raises(ClusterError, match="does not answer"):
            RayApi(address, None).applications()
