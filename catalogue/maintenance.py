"""
What has to be done now and then: ``python -m catalogue.maintenance`` does it once.

While the graph serves, one of the ingestion replicas does it by itself, each task on its period.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from catalogue.config import MaintenanceConfig
from catalogue.maintenance_tasks import TASKS, Task, TaskRun, run_task
from contracts.background import end
from storage.errors import SettingMissing
from storage.primary_session import PrimarySession, primary_session
from storage.settings import StorageSettings

LOOK_S = 2.0
RETRY_S = 5.0
RETRY_FAILED_S = 60.0

log = logging.getLogger(__name__)


class Maintenance:
    """
    Runs each task when it is due, in one of all the processes that have one of these.

    The one whose session holds a lock on the primary does the work; when that session ends another takes over. When
    each task ran last stands in the database, so a new one begins where the old one was. Tasks run one after another,
    on connections of their own: one that fails is noted, and tried again a minute later at the latest.

    Args:
        settings: The primary, and read replicas to count on.
        config: Periods.
        tasks: What to do.
        look_s: Seconds between looks at what is due.
    """

    def __init__(
        self,
        settings: StorageSettings,
        config: MaintenanceConfig | None = None,
        *,
        tasks: Sequence[Task] = tuple(TASKS.values()),
        look_s: float = LOOK_S,
    ) -> None:
        self.leading = False
        self._settings = settings
        self._config = config or MaintenanceConfig()
        self._tasks = tasks
        self._look_s = look_s
        self._runs: dict[str, dict[str, Any]] = {}
        self._problem: str | None = None
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once, whatever state the database is in."""
        if self._running is None:
            self._running = asyncio.create_task(self._run(), name="maintenance")

    async def stop(self) -> None:
        """End; a task under way is cut off, which undoes what it has not committed."""
        await end(self._running)
        self._running = None

    @property
    def alive(self) -> bool:
        """Whether the task that does what is due has not died; true before the start and after the end."""
        return self._running is None or not self._running.done()

    def status(self) -> dict[str, Any]:
        """Say whether this process does the work, what keeps it from it, and how the last run of each task went."""
        tasks = {
            task.name: {
                "started_at": run["started_at"].isoformat(),
                "seconds": run["seconds"],
                "error": run["error"],
                "outcome": orjson.loads(run["outcome"]),
            }
            for task in self._tasks
            if (run := self._runs.get(task.name)) is not None
        }
        return {"leading": self.leading, "problem": self._problem, "tasks": tasks}

    async def _run(self) -> None:
        while True:
            try:
                async with primary_session(self._settings.database_url, application="shortlist-maintenance") as session:
                    await self._work(session)
            except Exception as error:  # noqa: BLE001 - one that dies would leave everything undone without a word
                if self._problem is None:
                    log.warning("maintenance waits: %r", error)
                self._problem = str(error) or type(error).__name__
            finally:
                self.leading = False
            await asyncio.sleep(min(RETRY_S, self._look_s))

    async def _work(self, session: PrimarySession) -> None:
        """Run what is due, or wait to be the one that does; only an error ends it."""
        while True:
            if not self.leading:
                self.leading = (await session.fetch("lead_maintenance")).records[0]["leading"]
            await self._look(session)
            for task in self._tasks if self.leading else ():
                if self._due(task):
                    await run_task(task, self._settings, self._config)
                    # Also tells whether the session, and with it the lead, is still there.
                    await self._look(session)
            await asyncio.sleep(self._look_s)

    async def _look(self, session: PrimarySession) -> None:
        rows = (await session.fetch("maintenance_runs")).records
        self._runs = {row["name"]: dict(row) for row in rows}
        self._problem = None

    def _due(self, task: Task) -> bool:
        run = self._runs.get(task.name)
        period_s = task.period_s(self._config)
        return run is None or run["age_s"] >= (period_s if run["error"] is None else min(period_s, RETRY_FAILED_S))


async def run_once(
    settings: StorageSettings,
    config: MaintenanceConfig,
    names: Sequence[str] = tuple(TASKS),
    *,
    told: Callable[[TaskRun], None] = lambda _: None,
) -> list[TaskRun]:
    """Run the tasks called *names* now, due or not, one after another; *told* hears of each as it ends."""
    runs = []
    for name in names:
        run = await run_task(TASKS[name], settings, config)
        told(run)
        runs.append(run)
    return runs


def described(run: TaskRun) -> list[str]:
    """Return what there is to say about *run*, in lines."""
    if run.error is not None:
        return [f"{run.name}: {run.error}"]
    detached = run.outcome.get("detached")
    words = ", ".join(f"{name} {value}" for name, value in run.outcome.items() if name not in {"seconds", "detached"})
    if detached is not None:
        words = f"{len(detached)} months detached"
    lines = [f"{run.name}: {words} ({run.seconds:.1f} s)"]
    if detached:
        lines += [f"  {month['table']} ({month['moved']} rows from events_default)" for month in detached]
        lines.append("These tables are no longer part of events. Archive each (pg_dump --table NAME), then drop it.")
        lines.append("To put one back: select attach_event_partition('2026-01-01'), with any day of the month.")
    return lines


def arguments(tasks: Sequence[str] | None, detach_older_than: int | None) -> tuple[list[str], MaintenanceConfig]:
    """Return the tasks and the configuration that the flags of a command ask for; detaching alone runs nothing else."""
    names = list(tasks or (TASKS if detach_older_than is None else ()))
    if detach_older_than is not None and "retention" not in names:
        names.append("retention")
    return names, MaintenanceConfig(event_retention_months=detach_older_than)


def main() -> int:
    """Read the flags and run; 1 when a task failed."""
    parser = argparse.ArgumentParser(
        prog="python -m catalogue.maintenance",
        description="Do what has to be done now and then, once.",
        epilog="The databases are those of SHORTLIST_DATABASE_URL and SHORTLIST_REPLICA_URLS. Tasks: "
        + "; ".join(f"{task.name}: {task.about}" for task in TASKS.values()),
    )
    parser.add_argument("--task", action="append", choices=list(TASKS), help="only this one; may be repeated")
    parser.add_argument(
        "--detach-older-than", type=int, metavar="MONTHS", help="detach the months of events that are older, and stop"
    )
    parser.add_argument("--json", action="store_true", help="write the runs as one JSON document")
    flags = parser.parse_args()
    if flags.detach_older_than is not None and flags.detach_older_than < 1:
        parser.error("--detach-older-than must be at least 1")
    names, config = arguments(flags.task, flags.detach_older_than)

    def told(run: TaskRun) -> None:
        sys.stderr.write("".join(f"{line}\n" for line in described(run)))

    try:
        settings = StorageSettings.from_environment()
    except SettingMissing as error:
        sys.stderr.write(f"{error}\n")
        return 2
    runs = asyncio.run(run_once(settings, config, names, told=told))
    if flags.json:
        sys.stdout.write(json.dumps({"runs": [dataclasses.asdict(run) for run in runs]}) + "\n")
    return int(any(run.error is not None for run in runs))


if __name__ == "__main__":
    raise SystemExit(main())
