from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import Iterator

import asyncpg
import pytest

from cluster.child import wait_until
from cluster.local_postgres import LocalPostgres
from cluster.record import StackRecord
from tests.command import FREE_PORTS, Shortlist
from tests.directories import short_directory

SERVERS = ("up", "--detach", "--no-deploy", "--only=postgres,valkey", *FREE_PORTS)
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def _stack() -> Iterator[Shortlist]:
    with short_directory("shortlist-promote-") as directory:
        shortlist = Shortlist(directory / "state")
        try:
            yield shortlist
        finally:
            shortlist.run("down")
        assert shortlist.processes() == []


@pytest.fixture
def stack(_stack: Shortlist) -> Shortlist:
    """A running stack with a replica that streams; table kept is empty."""
    _stack.ask(*SERVERS)
    assert wait_until(LocalPostgres.of(_stack.state).replica.is_streaming, timeout_s=PATIENCE_S)
    write(_stack, "create table if not exists kept (n bigint primary key); truncate kept")
    return _stack


@pytest.fixture
def bare() -> Iterator[Shortlist]:
    """A state directory with nothing in it."""
    with short_directory("shortlist-bare-") as directory:
        shortlist = Shortlist(directory / "state")
        yield shortlist
        shortlist.run("down")
        assert shortlist.processes() == []


def write(stack: Shortlist, sql: str) -> str:
    return LocalPostgres.of(stack.state).primary.query(sql, database="shortlist")


def numbers(stack: Shortlist) -> set[int]:
    return {int(line) for line in write(stack, "select n from kept").split()}


def record_of(stack: Shortlist) -> StackRecord:
    record = StackRecord.read(stack.state.record)
    assert record is not None
    return record


def ports(stack: Shortlist) -> list[int]:
    """The primary's and the replica's, by status, which says that both work."""
    rows = stack.ask("status")["processes"]
    assert [row["name"] for row in rows[:2]] == ["postgres-primary", "postgres-replica-1"]
    assert all(row["healthy"] for row in rows), rows
    return [row["port"] for row in rows[:2]]


def kill_supervisor(stack: Shortlist) -> None:
    os.kill(record_of(stack).supervisor.pid, signal.SIGKILL)
    assert wait_until(lambda: stack.processes() == [], timeout_s=PATIENCE_S, poll_s=0.2), stack.processes()


def doing(stack: Shortlist) -> str | None:
    promotion = record_of(stack).promotion
    return None if promotion is None or promotion.condition != "running" else promotion.doing


async def stream_of_writes(url: str, acknowledged: list[int], enough: asyncio.Event) -> None:
    """Insert 1, 2, 3, ... one commit each, over a new connection whenever one breaks."""
    connection: asyncpg.Connection[asyncpg.Record] | None = None
    number = 0
    while not enough.is_set():
        number += 1
        try:
            if connection is None:
                connection = await asyncpg.connect(url, timeout=5)
            await connection.execute("insert into kept values ($1)", number)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            if connection is not None:
                connection.terminate()
            connection = None
            await asyncio.sleep(0.01)
        else:
            acknowledged.append(number)
    if connection is not None:
        await connection.close()


async def more_than(acknowledged: list[int], count: int) -> None:
    assert await asyncio.to_thread(wait_until, lambda: len(acknowledged) > count, timeout_s=PATIENCE_S)


class TestPromote:
    async def test_every_write_that_was_acknowledged_is_there_and_writes_go_on_through_the_same_url(
        self, stack: Shortlist
    ) -> None:
        before = ports(stack)
        acknowledged: list[int] = []
        enough = asyncio.Event()
        writer = asyncio.create_task(stream_of_writes(record_of(stack).database_url, acknowledged, enough))
        await more_than(acknowledged, 100)
        answer = await asyncio.to_thread(stack.ask, "promote")
        assert (answer["planned"], answer["lost_bytes"], answer["replica_streams"]) == (True, 0, True)
        assert list(answer["ports"].values()) == before[::-1]
        await more_than(acknowledged, len(acknowledged) + 100)
        enough.set()
        await writer
        assert set(acknowledged) <= numbers(stack)
        assert ports(stack) == before[::-1]

    def test_it_outlives_a_stop_and_a_killed_supervisor(self, stack: Shortlist) -> None:
        stack.ask("promote")
        after = ports(stack)
        write(stack, "insert into kept values (1)")
        stack.ask("down")
        stack.ask(*SERVERS)
        assert ports(stack) == after
        kill_supervisor(stack)
        stack.ask(*SERVERS)
        assert ports(stack) == after
        assert numbers(stack) == {1}

    def test_a_killed_primary_is_promoted_away_or_handed_over_and_no_row_is_lost(self, stack: Shortlist) -> None:
        """Whether the supervisor has started it again by then is a matter of moments."""
        before = ports(stack)
        write(stack, "insert into kept values (1)")
        servers = LocalPostgres.of(stack.state)
        written = servers.primary.written()
        assert wait_until(lambda: servers.replica.replayed() >= written, timeout_s=PATIENCE_S)
        os.kill(record_of(stack).parts["postgres-primary"].process.pid, signal.SIGKILL)
        assert stack.ask("promote")["lost_bytes"] == 0
        assert ports(stack) == before[::-1]
        assert numbers(stack) == {1}

    @pytest.mark.long
    @pytest.mark.parametrize("moment", ["stopping the old primary", "promoting the replica", "bringing the old"])
    def test_a_supervisor_that_is_killed_on_the_way_leaves_one_primary_with_everything(
        self, stack: Shortlist, moment: str
    ) -> None:
        write(stack, "insert into kept values (1)")
        supervisor = record_of(stack).supervisor.pid
        with subprocess.Popen(
            stack.command("promote"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=stack.environment()
        ) as promote:
            assert wait_until(lambda: (doing(stack) or "").startswith(moment), timeout_s=PATIENCE_S, poll_s=0.001)
            os.kill(supervisor, signal.SIGKILL)
            assert promote.wait(PATIENCE_S) == 3
        assert wait_until(lambda: stack.processes() == [], timeout_s=PATIENCE_S, poll_s=0.2), stack.processes()
        stack.ask(*SERVERS)
        assert len(set(ports(stack))) == 2
        assert numbers(stack) == {1}


class TestRefusals:
    def test_without_a_stack_and_without_a_replica(self, bare: Shortlist) -> None:
        done = bare.run("promote", "--json")
        assert done.returncode == 3
        assert "No stack runs" in json.loads(done.stdout)["error"]
        bare.ask("up", "--detach", "--no-deploy", "--only=valkey", *FREE_PORTS)
        done = bare.run("promote")
        assert done.returncode == 9
        assert "has no read replica" in done.stderr
