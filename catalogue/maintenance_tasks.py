"""What there is to look after, and one run of it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson

from catalogue.change_compaction import compact_changes
from catalogue.config import MaintenanceConfig
from catalogue.connections import connected
from catalogue.errors import CatalogueError
from catalogue.partitions import detach_older_than, make_months_ahead
from catalogue.popularity import refresh_popularity
from catalogue.vocabulary import refresh_keyword_head, refresh_vocabulary
from storage.errors import StorageError
from storage.named_queries import QUERIES
from storage.server_failures import SERVER_FAILURES
from storage.settings import StorageSettings

Outcome = dict[str, Any]
Work = Callable[[StorageSettings, MaintenanceConfig], Awaitable[Outcome]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Task:
    """
    Something done now and then; two runs at once, by two processes, do no harm.

    Args:
        name: What it is called.
        about: What it does, in a few words.
        period_s: Seconds from one start to the next, by the configuration.
        work: Does it, and returns what there is to say about it, as JSON has it.
    """

    name: str
    about: str
    period_s: Callable[[MaintenanceConfig], float]
    work: Work


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One run of a task: seconds it took, and its outcome or what went wrong."""

    name: str
    seconds: float
    error: str | None = None
    outcome: Outcome = field(default_factory=dict)


async def run_task(task: Task, settings: StorageSettings, config: MaintenanceConfig) -> TaskRun:
    """Run *task*, note the run in the database, and return it; what goes wrong is in it, nothing is raised."""
    started = time.monotonic()
    error: str | None = None
    outcome: Outcome = {}
    try:
        async with asyncio.timeout(config.task_timeout_s):
            outcome = await task.work(settings, config)
    except TimeoutError:
        error = f"took longer than {config.task_timeout_s:g} s"
    except (CatalogueError, StorageError) as failure:
        error = str(failure)
    except asyncpg.UndefinedTableError as failure:
        error = f"the database has not been migrated ({failure}). Run: python -m storage.migrate"
    except Exception as failure:
        log.exception("maintenance task %s failed", task.name)
        error = f"{type(failure).__name__}: {failure}"
    run = TaskRun(task.name, round(time.monotonic() - started, 3), error, outcome)
    await _noted(run, settings)
    return run


async def _noted(run: TaskRun, settings: StorageSettings) -> None:
    if run.error is not None:
        log.warning("maintenance task %s: %s", run.name, run.error)
    try:
        async with connected(settings.database_url, "primary") as connection, asyncio.timeout(10):
            await connection.execute(
                QUERIES["record_maintenance_run"], run.name, run.seconds, run.error, orjson.dumps(run.outcome).decode()
            )
    except (StorageError, TimeoutError, *SERVER_FAILURES) as failure:
        log.warning("the run of maintenance task %s is not noted: %r", run.name, failure)


async def _partitions(settings: StorageSettings, config: MaintenanceConfig) -> Outcome:
    async with connected(settings.database_url, "primary") as connection:
        return {"made": await make_months_ahead(connection, config.months_ahead)}


async def _popularity(settings: StorageSettings, _: MaintenanceConfig) -> Outcome:
    return dataclasses.asdict(await refresh_popularity(settings))


async def _retention(settings: StorageSettings, config: MaintenanceConfig) -> Outcome:
    if config.event_retention_months is None:
        return {"detached": []}
    async with connected(settings.database_url, "primary") as connection:
        detached = await detach_older_than(connection, config.event_retention_months)
    return {"detached": [dataclasses.asdict(month) for month in detached]}


async def _changes(settings: StorageSettings, config: MaintenanceConfig) -> Outcome:
    async with connected(settings.database_url, "primary") as connection:
        return {"removed": await compact_changes(connection, older_than_h=config.change_retention_h)}


async def _vocabulary(settings: StorageSettings, _: MaintenanceConfig) -> Outcome:
    async with connected(settings.database_url, "primary") as connection:
        return dataclasses.asdict(await refresh_vocabulary(connection))


async def _head_tier(settings: StorageSettings, _: MaintenanceConfig) -> Outcome:
    async with connected(settings.database_url, "primary") as connection:
        return {"moved": await refresh_keyword_head(connection)}


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("partitions", "months of events made ahead", lambda config: config.partitions_period_s, _partitions),
        Task("popularity", "popularity recounted", lambda config: config.popularity_period_s, _popularity),
        Task("vocabulary", "words of keyword search", lambda config: config.vocabulary_period_s, _vocabulary),
        Task("head-tier", "products looked at first", lambda config: config.head_tier_period_s, _head_tier),
        Task("retention", "old months of events detached", lambda config: config.retention_period_s, _retention),
        Task("changes", "change feed compacted", lambda config: config.compaction_period_s, _changes),
    )
}
"""Every task by name, in the order in which those that are due run."""
