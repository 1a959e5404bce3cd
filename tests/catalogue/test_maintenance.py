from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from catalogue import maintenance
from catalogue.config import MaintenanceConfig
from catalogue.connections import connected
from catalogue.errors import CatalogueError
from catalogue.events import Event
from catalogue.maintenance import Maintenance, described, run_once
from catalogue.maintenance_tasks import TASKS, Outcome, Task, TaskRun
from catalogue.store import insert_events
from storage.connection import Connection
from storage.settings import StorageSettings

OFTEN = MaintenanceConfig(popularity_period_s=1)
LONG_AGO = datetime(2020, 5, 17, tzinfo=UTC)

Start = Callable[..., Maintenance]


class Counter:
    """A task that counts its runs."""

    def __init__(self, name: str = "count", *, failing: bool = False, period_s: float = 86400.0) -> None:
        self.runs = 0
        self.failing = failing
        self.task = Task(name, "counting", lambda _: period_s, self.work)

    async def work(self, _settings: StorageSettings, _config: MaintenanceConfig) -> Outcome:
        self.runs += 1
        if self.failing:
            raise CatalogueError("out of ink")
        return {"runs": self.runs}


@pytest.fixture
async def start(database_url: str) -> AsyncIterator[Start]:
    """Starts what each ingestion replica runs, with some tasks."""
    started: list[Maintenance] = []

    def one(*counters: Counter, url: str = database_url) -> Maintenance:
        tasks = [counter.task for counter in counters]
        started.append(Maintenance(StorageSettings(url), OFTEN, tasks=tasks, look_s=0.02))
        started[-1].start()
        return started[-1]

    yield one
    for each in started:
        await each.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody could tell an event
            await asyncio.sleep(0.01)


class TestMaintenance:
    async def test_what_is_due_runs_and_what_ran_waits_for_its_period(self, start: Start) -> None:
        once, often = Counter("once"), Counter("often", period_s=0.0)
        running = start(once, often)
        await until(lambda: often.runs >= 3)
        assert (once.runs, running.leading) == (1, True)

    async def test_the_status_says_how_each_task_went(self, start: Start) -> None:
        running = start(Counter("good"), Counter("bad", failing=True))
        await until(lambda: len(running.status()["tasks"]) == 2)
        tasks = running.status()["tasks"]
        assert (tasks["good"]["error"], tasks["good"]["outcome"]) == (None, {"runs": 1})
        assert (tasks["bad"]["error"], tasks["bad"]["outcome"]) == ("out of ink", {})

    async def test_a_task_that_fails_does_not_stop_the_others(self, start: Start) -> None:
        bad, good = Counter("bad", failing=True, period_s=0.0), Counter("good", period_s=0.0)
        start(bad, good)
        await until(lambda: good.runs >= 2)
        assert bad.runs >= 2

    async def test_one_of_several_does_the_work_and_the_others_know_how_it_went(self, start: Start) -> None:
        first, second = Counter(), Counter()
        one = start(first)
        await until(lambda: first.runs == 1)
        other = start(second)
        await until(lambda: "count" in other.status()["tasks"])
        assert (one.leading, other.leading, second.runs) == (True, False, 0)

    async def test_another_takes_over_where_the_first_left_off(self, start: Start) -> None:
        first, second, due = Counter(), Counter(), Counter("due", period_s=0.0)
        one = start(first)
        await until(lambda: "count" in one.status()["tasks"])
        await one.stop()
        other = start(second, due)
        await until(lambda: due.runs >= 1)
        assert (second.runs, other.leading) == (0, True)

    async def test_a_session_that_is_cut_gives_up_the_lead(self, start: Start, connection: Connection) -> None:
        counter = Counter(period_s=0.0)
        running = start(counter)
        await until(lambda: running.leading)
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and granted"
            " and database = (select oid from pg_database where datname = current_database())"
        )
        await until(lambda: not running.leading)
        runs = counter.runs
        await until(lambda: running.leading and counter.runs > runs)

    async def test_without_a_database_it_waits_and_says_why(self, start: Start) -> None:
        running = start(Counter(), url="postgresql://shortlist@/shortlist?host=/nonexistent&port=5432")
        await until(lambda: running.status()["problem"] is not None)
        assert (running.leading, running.status()["tasks"]) == (False, {})


class TestRunOnce:
    async def test_every_task_does_its_work(self, database_url: str, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('p', 'tea')")
        await insert_events(connection, [Event(user_id="u", product_id="p", type="view")])
        told: list[TaskRun] = []
        runs = await run_once(
            StorageSettings(database_url),
            MaintenanceConfig(months_ahead=5, event_retention_months=12),
            told=told.append,
        )
        assert [run.name for run in runs] == list(TASKS)
        assert [run.error for run in runs] == [None] * len(TASKS)
        assert told == runs
        outcomes = {run.name: run.outcome for run in runs}
        assert (outcomes["partitions"], outcomes["retention"], outcomes["changes"]) == (
            {"made": 2},
            {"detached": []},
            {"removed": 0},
        )
        assert outcomes["popularity"]["changed"] == 1

    async def test_without_a_retention_time_no_event_leaves(self, database_url: str, connection: Connection) -> None:
        await insert_events(connection, [Event(user_id="u", product_id="p", type="view", timestamp=LONG_AGO)])
        runs = await run_once(StorageSettings(database_url), MaintenanceConfig(), ["retention"])
        assert runs[0].outcome == {"detached": []}
        assert await connection.fetchval("select count(*) from events") == 1

    async def test_without_a_database_the_run_says_so(self) -> None:
        settings = StorageSettings("postgresql://shortlist@/shortlist?host=/nonexistent&port=5432")
        runs = await run_once(settings, MaintenanceConfig(), ["partitions"])
        assert "primary" in (runs[0].error or "")


class TestCommand:
    """``python -m catalogue.maintenance``."""

    def test_detaching_names_the_tables_and_says_what_to_do_with_them(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
        monkeypatch.setattr(sys, "argv", ["maintenance", "--detach-older-than", "12", "--json"])

        async def add() -> None:
            async with connected(database_url, "primary") as connection:
                await insert_events(connection, [Event(user_id="u", product_id="p", type="view", timestamp=LONG_AGO)])

        asyncio.run(add())
        assert maintenance.main() == 0
        written = capsys.readouterr()
        runs = json.loads(written.out)["runs"]
        assert [run["name"] for run in runs] == ["retention"]
        assert runs[0]["outcome"] == {"detached": [{"table": "events_2020_05", "moved": 1}]}
        assert "events_2020_05 (1 rows from events_default)" in written.err
        assert "pg_dump" in written.err

    def test_a_task_that_fails_gives_exit_code_1(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHORTLIST_DATABASE_URL", "postgresql://shortlist@/shortlist?host=/nonexistent&port=5432")
        monkeypatch.setattr(sys, "argv", ["maintenance", "--task", "partitions"])
        assert maintenance.main() == 1

    def test_a_missing_setting_is_named(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delenv("SHORTLIST_DATABASE_URL", raising=False)
        monkeypatch.setattr(sys, "argv", ["maintenance"])
        assert maintenance.main() == 2
        assert "SHORTLIST_DATABASE_URL" in capsys.readouterr().err


class TestDescribed:
    def test_a_run_is_one_line_and_a_failure_its_reason(self) -> None:
        assert described(TaskRun("partitions", 0.04, outcome={"made": 2})) == ["partitions: made 2 (0.0 s)"]
        assert described(TaskRun("popularity", 1.0, "no ink")) == ["popularity: no ink"]
