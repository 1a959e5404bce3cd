from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

from cluster.postgres import DATABASE
from tests.storage.conftest import BreakableServers

ROOT = Path(__file__).parents[2]

Victim = Literal["writer", "postgres"]
Moment = Literal["open", "committed"] | None
"""Between the statement and the commit, between the commit and the acknowledgement, or whenever the blow falls."""


class Client:
    """Sends events, and sends them again until they are acknowledged, whoever died meanwhile."""

    def __init__(self, servers: BreakableServers) -> None:
        self.acknowledged: list[str] = []
        self.failures = 0
        self._servers = servers
        self._writer = self._started()

    def send(self, event_ids: list[str], *, kill: Victim | None = None, at: Moment = None) -> None:
        """Have *event_ids* written; the first attempt meets with that death."""
        answer = self._attempt(event_ids, kill, at)
        while "acknowledged" not in answer:
            self.failures += 1
            self._repair()
            answer = self._attempt(event_ids, None, None)
        self.acknowledged += answer["acknowledged"]

    def close(self) -> None:
        """End the writer."""
        self._writer.kill()
        self._writer.communicate()

    def _attempt(self, event_ids: list[str], kill: Victim | None, at: Moment) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):
            self._say({"ids": event_ids, "stop_at": at})
            if at is not None:
                assert self._heard() == {"at": at}
            if kill == "writer":
                self._writer.kill()
            if kill == "postgres":
                kill_outright(self._servers)
            if at is not None:
                self._say({})
        return self._heard()

    def _repair(self) -> None:
        server = self._servers.primary
        assert server.process is not None
        if server.process.poll() is not None:
            server.start()
        server.wait_ready()
        if self._writer.poll() is not None:
            self._writer.communicate()
            self._writer = self._started()

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.storage.event_writer", self._servers.primary.url(DATABASE)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"at": "start"}
        return process

    def _say(self, request: dict[str, Any]) -> None:
        assert self._writer.stdin is not None
        self._writer.stdin.write(json.dumps(request) + "\n")
        self._writer.stdin.flush()

    def _heard(self) -> dict[str, Any]:
        """The writer's next line; nothing where it died."""
        assert self._writer.stdout is not None
        line = self._writer.stdout.readline()
        if not line:
            self._writer.wait(10)
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer


def kill_outright(servers: BreakableServers) -> None:
    """``kill -9`` for the primary and all of its processes."""
    assert servers.primary.process is not None
    server = psutil.Process(servers.primary.process.pid)
    everyone = [server, *server.children(recursive=True)]
    for process in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    servers.primary.process.wait(10)
    psutil.wait_procs(everyone, timeout=10)


@pytest.fixture
def client(breakable_servers: BreakableServers) -> Iterator[Client]:
    client = Client(breakable_servers)
    yield client
    client.close()


class TestAcknowledgedEvents:
    def test_each_is_there_once_whatever_was_killed(self, client: Client, breakable_servers: BreakableServers) -> None:
        """Every batch has five events of five users; the client sends each under its id until it is acknowledged."""
        deaths: dict[int, tuple[Victim, Moment]] = {
            2: ("writer", "open"),
            4: ("writer", "committed"),
            6: ("postgres", "open"),
            8: ("postgres", "committed"),
            10: ("writer", None),
            12: ("postgres", None),
        }
        sent = []
        for number in range(14):
            batch = [f"e-{number}-{user}" for user in range(5)]
            sent += batch
            victim, moment = deaths.get(number, (None, None))
            client.send(batch, kill=victim, at=moment)
        query = breakable_servers.primary.query
        assert client.acknowledged == sent
        assert client.failures >= 4
        kept = query("select count(*), count(distinct id) from events where id like 'e-%'", database=DATABASE)
        assert kept == "70|70"
        counted = query(
            "select string_agg(event_count::text, ' ') from users where id between '0' and '4'", database=DATABASE
        )
        assert counted == "14 14 14 14 14"
