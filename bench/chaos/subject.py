"""The stack that things are done to: where its processes are, and whether all of it is there."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import psutil

from bench.chaos.processes import family
from bench.chaos.setup import AS_USUAL, Setup
from cluster.application import deploy, listening_at
from cluster.errors import ClusterError
from cluster.local_postgres import LocalPostgres
from cluster.local_stack import LocalStack
from cluster.postgres import DATABASE
from cluster.record import StackRecord
from cluster.state_directory import StateDirectory
from cluster.status import replica_rows, stack_api

DEPLOYMENTS = ("gateway", "search", "recommendation", "ranking", "ingestion")
DEPLOY_TIMEOUT_S = 300.0

Result = TypeVar("Result")


class Subject:
    """
    A running local stack.

    Args:
        state_dir: Its state directory.
    """

    def __init__(self, state_dir: Path) -> None:
        self.state = StateDirectory(state_dir.resolve())
        self.stack = LocalStack(self.state)
        self.struck_s: float | None = None
        self.complaints: list[str] = []
        self.replica_count = {name: len(self.replicas(name)) for name in DEPLOYMENTS}

    @property
    def record(self) -> StackRecord:
        """What the supervisor wrote down last."""
        return self.stack.running()

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return self.record.url

    @property
    def servers(self) -> LocalPostgres:
        """The two Postgres servers by their present roles."""
        return LocalPostgres.of(self.state)

    def strike(self) -> None:
        """Note that the fault happens now."""
        self.struck_s = time.monotonic()

    def complain(self, what: str) -> None:
        """Note something that a client does not see but that is wrong all the same."""
        self.complaints.append(what)

    def replicas(self, deployment: str) -> list[int]:
        """The pids of the healthy replicas of *deployment*."""
        rows = replica_rows(stack_api(self.state, self.record.dashboard_url))
        return [row.pid for row in rows if row.name.startswith(f"serve:{deployment}:") and row.healthy]

    def part(self, name: str) -> int:
        """
        The pid of a part that the supervisor watches: ``valkey``, ``postgres-primary``, ``ray-serving``, ...

        Raises:
            LookupError: it does not run; the name is the message.
        """
        found = self.record.parts.get(name)
        process = found.process.process() if found else None
        if process is None:
            raise LookupError(name)
        return process.pid

    def proxies(self, title: str) -> list[int]:
        """The pids of the serving cluster's processes whose title or program begins with *title*."""
        found = []
        for pid in family(self.part("ray-serving")):
            with contextlib.suppress(psutil.Error):
                command = psutil.Process(pid).cmdline()
                if command and (command[0].startswith(title) or Path(command[0]).name == title):
                    found.append(pid)
        return found

    def missing(self) -> list[str]:
        """What is not there of all that was there at first; empty at full strength."""
        try:
            record = self.record
            counts = Counter(
                row.name.split(":")[1]
                for row in replica_rows(stack_api(self.state, record.dashboard_url))
                if row.healthy
            )
        except ClusterError as error:
            return [str(error)]
        lacking = [name for name, count in self.replica_count.items() if counts[name] < count]
        lacking += [name for name, part in record.parts.items() if part.process.process() is None]
        servers = self.servers
        if not servers.primary.is_writable():
            lacking.append("postgres-primary")
        if not servers.replica.is_streaming():
            lacking.append("postgres-replica-1")
        return lacking

    def health(self) -> dict[str, Any]:
        """What ``/health`` says; empty where it does not answer."""
        try:
            answer: dict[str, Any] = httpx.get(f"{self.url}/health", timeout=5.0, trust_env=False).json()
        except (httpx.HTTPError, ValueError):
            return {}
        return answer

    def query_replica(self, sql: str) -> str:
        """Return what the read replica answers to *sql*."""
        return self.servers.replica.query(sql, database=DATABASE)

    @contextlib.contextmanager
    def unattended(self) -> Iterator[None]:
        """Have nobody start again what dies meanwhile: as on a machine that is gone."""
        process = self.record.supervisor.process()
        assert process is not None
        # The supervisor alone: its children are the parts themselves.
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    @contextlib.contextmanager
    def configured(self, setup: Setup) -> Iterator[None]:
        """Have the graph deployed as *setup* says while the block runs."""
        if setup == AS_USUAL:
            yield
            return
        before = json.loads(self.state.serve_config.read_text())
        counts = dict(self.replica_count)
        wanted = copy.deepcopy(before)
        for application in wanted["applications"]:
            application["args"] = {**(application.get("args") or {}), **dict(setup.args)}
            for each in application["deployments"]:
                each["num_replicas"] = dict(setup.replicas).get(each["name"], each["num_replicas"])
        try:
            self.replica_count = {**counts, **dict(setup.replicas)}
            self._deploy(wanted)
            yield
        finally:
            self.replica_count = counts
            self._deploy(before)

    def events_kept(self, ids: Sequence[str]) -> dict[str, int]:
        """How often the primary holds each of the events *ids*."""

        async def ask() -> dict[str, int]:
            connection = await asyncpg.connect(self.record.database_url, timeout=30)
            try:
                rows = await connection.fetch(
                    "select id, count(*) as times from events where id = any($1::text[]) group by id", list(ids)
                )
            finally:
                await connection.close()
            return {row["id"]: row["times"] for row in rows}

        return _in_thread(ask)

    def forget_events(self, name: str) -> None:
        """Remove what a stream of that name wrote."""

        async def ask() -> None:
            connection = await asyncpg.connect(self.record.database_url, timeout=30)
            try:
                for statement in (
                    "delete from event_ids where id like $1 || '-%'",
                    "delete from events where id like $1 || '-%'",
                    "delete from users where id like $1 || '-%'",
                ):
                    await connection.execute(statement, name)
            finally:
                await connection.close()

        _in_thread(ask)

    def _deploy(self, document: dict[str, Any]) -> None:
        api = self.stack.serving()
        record = self.record
        deploy(
            api,
            listening_at(document, record.http_host, record.http_port),
            timeout_s=DEPLOY_TIMEOUT_S,
            follow=lambda _line: None,
        )
        self.state.serve_config.write_text(json.dumps(document, indent=1))


def _in_thread(ask: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """What the coroutine function *ask* returns; also where a loop runs already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(ask())).result()
