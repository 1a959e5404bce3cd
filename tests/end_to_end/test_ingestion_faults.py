from __future__ import annotations

import asyncio
import os
import signal
import uuid
from dataclasses import dataclass, field

import asyncpg
import httpx
import psutil
import pytest

from cluster.child import wait_until
from tests.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("left_well")]

WRITERS = 4
BATCH = 5


@dataclass
class Stream:
    """Clients that send events, and send them again until they are acknowledged."""

    name: str = field(default_factory=lambda: f"faults-{uuid.uuid4().hex[:8]}")
    acknowledged: list[str] = field(default_factory=list)
    refused: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, url: str) -> None:
        """Send until told to end; what was begun is finished."""
        async with httpx.AsyncClient(base_url=url, timeout=40) as client:
            await asyncio.gather(*(self._client(client, number) for number in range(WRITERS)))

    async def _client(self, client: httpx.AsyncClient, number: int) -> None:
        sent = 0
        while not self.ended.is_set():
            ids = [f"{self.name}-{number}-{sent}-{item}" for item in range(BATCH)]
            await self._until_acknowledged(client, ids)
            sent += 1

    async def _until_acknowledged(self, client: httpx.AsyncClient, ids: list[str]) -> None:
        events = [{"id": name, "user_id": self.name, "product_id": "50", "type": "view"} for name in ids]
        while True:
            try:
                response = await client.post("/v1/events", json=events)
            except httpx.TransportError:
                self.refused += 1
                await asyncio.sleep(0.2)
                continue
            if response.status_code == 202:
                assert response.json()["accepted"] + response.json()["duplicates"] == len(ids)
                self.acknowledged += ids
                return
            assert response.status_code in {429, 502, 503, 504}, response.text
            if response.headers["content-type"] == "application/problem+json":
                assert response.json()["retryable"], response.text
                assert response.headers["retry-after"]
            self.refused += 1
            await asyncio.sleep(0.2)

    async def grows_by(self, number: int) -> None:
        """Wait until that many more events are acknowledged."""
        wanted = len(self.acknowledged) + number
        async with asyncio.timeout(90):
            while len(self.acknowledged) < wanted:  # noqa: ASYNC110 - the clients are the ones to wait for
                await asyncio.sleep(0.05)


def pids(stack: Stack, name: str) -> list[int]:
    """The healthy processes whose row begins with *name*."""
    processes = stack.status()["processes"]
    return [each["pid"] for each in processes if each["name"].startswith(name) and each["healthy"]]


def kill(pid: int) -> None:
    """``kill -9`` for a process and its children."""
    process = psutil.Process(pid)
    for one in [process, *process.children(recursive=True)]:
        try:
            os.kill(one.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


async def kept(stack: Stack, stream: Stream) -> tuple[list[str], int]:
    """The stream's events in the database, in order, and how many of its user were counted."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        rows = await connection.fetch("select id from events where user_id = $1 order by id", stream.name)
        counted = await connection.fetchval("select event_count from users where id = $1", stream.name)
    finally:
        await connection.close()
    return [row["id"] for row in rows], counted


async def forget(stack: Stack, stream: Stream) -> None:
    """Leave the stack as it was found."""
    connection = await asyncpg.connect(stack.database_url)
    try:
        await connection.execute("delete from event_ids where id like $1 || '%'", stream.name)
        await connection.execute("delete from events where user_id = $1", stream.name)
        await connection.execute("delete from users where id = $1", stream.name)
    finally:
        await connection.close()


class TestEventStream:
    async def test_every_acknowledged_event_is_there_once_whatever_was_killed(self, stack: Stack) -> None:
        """Both ingestion replicas, one after the other, and the primary, each under a stream of events with retries."""
        stream = Stream()
        clients = asyncio.create_task(stream.run(stack.url))
        try:
            await stream.grows_by(50)
            for victim in await asyncio.to_thread(pids, stack, "serve:ingestion:"):
                kill(victim)
                await stream.grows_by(50)
            (primary,) = await asyncio.to_thread(pids, stack, "postgres-primary")
            kill(primary)
            await stream.grows_by(50)
            stream.ended.set()
            await clients
            there, counted = await kept(stack, stream)
            assert there == sorted(stream.acknowledged)
            assert counted == len(there)
            assert stream.refused > 0, "nobody noticed that anything was killed"
        finally:
            stream.ended.set()
            clients.cancel()
            await asyncio.gather(clients, return_exceptions=True)
            await forget(stack, stream)
        assert await asyncio.to_thread(
            wait_until, lambda: len(pids(stack, "serve:ingestion:")) == 2, timeout_s=120, poll_s=0.25
        )
