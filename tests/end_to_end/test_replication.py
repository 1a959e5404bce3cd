"""The read replica falls behind, and takes over, under the running graph. Minutes: 60 s of lag have to pass."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from cluster.child import wait_until
from cluster.local_postgres import LocalPostgres
from cluster.postgres import DATABASE
from cluster.state_directory import StateDirectory
from tests.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.long, pytest.mark.usefixtures("left_well")]


class Searches:
    """Searches one after the other from a thread, past the cache; how each was answered."""

    def __init__(self, url: str) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.failures: list[str] = []
        self._url = url
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Search until the block ends."""
        self._thread.start()
        try:
            yield
        finally:
            self._enough.set()
            self._thread.join()

    def last(self) -> dict[str, Any]:
        """The answer to a search that began after this call."""
        seen = len(self.bodies)
        assert wait_until(lambda: len(self.bodies) > seen + 1, timeout_s=60)
        return self.bodies[-1]

    def _go_on(self) -> None:
        with httpx.Client(base_url=self._url, timeout=60) as client:
            while not self._enough.is_set():
                params = {"q": f"war {secrets.token_hex(4)}", "timeout_ms": "20000"}
                response = client.get("/v1/search", params=params)
                if response.status_code == 200:
                    self.bodies.append(response.json())
                else:
                    self.failures.append(response.text)


@pytest.fixture
def searches(stack: Stack) -> Searches:
    return Searches(stack.url)


@pytest.fixture
def replica(stack: Stack) -> Callable[[str], str]:
    server = LocalPostgres.of(StateDirectory(stack.state_dir)).replica
    return lambda query: server.query(query, database=DATABASE)


def reads_from(body: dict[str, Any]) -> str:
    return str(body["freshness"]["read_from"])


class TestPausedReplay:
    def test_after_a_minute_the_primary_is_read_and_says_so_until_the_replica_has_caught_up(
        self, searches: Searches, replica: Callable[[str], str]
    ) -> None:
        with searches.under_way():
            assert reads_from(searches.last()) == "replica-1"
            replica("select pg_wal_replay_pause()")
            try:
                assert wait_until(lambda: reads_from(searches.last()) == "primary", timeout_s=150)
                stages = {stage["name"]: stage for stage in searches.last()["stages"]}
                assert (stages["keyword"]["fallback"], stages["keyword"]["cause"]) == ("primary", "replica_lag")
            finally:
                replica("select pg_wal_replay_resume()")
            assert wait_until(lambda: reads_from(searches.last()) == "replica-1", timeout_s=60)
        assert searches.failures == []


class TestPromotion:
    def test_writes_resume_through_the_same_url_and_nothing_acknowledged_is_lost(
        self, client: httpx.Client, stack: Stack, searches: Searches
    ) -> None:
        acknowledged: list[str] = []

        def written() -> bool:
            event_id = secrets.token_hex(8)
            event = {"id": event_id, "user_id": "promotion", "product_id": "50", "type": "view"}
            response = client.post("/v1/events", json={"events": [event]})
            if response.status_code == 202:
                acknowledged.append(event_id)
            return response.status_code == 202

        with searches.under_way():
            assert written()
            for _ in range(2):
                assert stack.shortlist.ask("promote")
                assert wait_until(written, timeout_s=60)
                assert wait_until(lambda: reads_from(searches.last()) == "replica-1", timeout_s=60)
        assert searches.failures == []
        primary = LocalPostgres.of(StateDirectory(stack.state_dir)).primary
        kept = primary.query("select id from events where user_id = 'promotion'", database=DATABASE).split()
        assert set(acknowledged) <= set(kept)
