"""Months of events: made ahead of time, detached after the retention time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import asyncpg

from catalogue.errors import EventsBusy
from storage.connection import Connection
from storage.named_queries import QUERIES

LOCK_TIMEOUT_MS = 500
ATTEMPTS = 10
PAUSE_S = 1.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class DetachedMonth:
    """A month that is no longer part of events: the table that holds it now, and how many rows the default one gave."""

    table: str
    moved: int


async def make_months_ahead(connection: Connection, months: int) -> int:
    """
    Make the partitions of this month and *months* more, and return how many were missing.

    Raises:
        EventsBusy: the events stayed locked.
    """

    async def make() -> int:
        return int(await connection.fetchval(QUERIES["make_months_ahead"], months))

    return await _patiently(connection, make)


async def detach_older_than(connection: Connection, months: int) -> list[DetachedMonth]:
    """
    Detach every month whose events are all more than *months* months old, and return their tables, oldest first.

    What the default partition holds of such a month goes into the month's table too. Nothing is deleted: the tables
    stay, for the operator to archive and drop. The ids of their events stay in ``event_ids``, so that an event sent
    again still counts once, and ``users.event_count`` still counts them.

    Each month is a transaction of its own. ``detach partition concurrently`` is not to be had beside a default
    partition; detaching changes the catalogue only, and gives up a lock that it does not get at once, so that reads and
    writes wait half a second at most.

    Raises:
        EventsBusy: the events stayed locked; the months before are detached.
    """

    async def detach(month: datetime) -> DetachedMonth | None:
        row = await connection.fetchrow(QUERIES["detach_event_month"], month)
        assert row is not None
        return DetachedMonth(row["name"], row["moved"]) if row["detached"] or row["moved"] else None

    old = await connection.fetch(QUERIES["old_event_months"], months)
    done = [await _patiently(connection, partial(detach, row["month"])) for row in old]
    return [each for each in done if each is not None]


async def _patiently(connection: Connection, work: Callable[[], Awaitable[Result]]) -> Result:
    """Do *work* in a transaction that never makes others queue for long; again while it does not get its locks."""
    for attempt in range(ATTEMPTS):
        if attempt:
            await asyncio.sleep(PAUSE_S)
        try:
            async with connection.transaction():
                await connection.execute(QUERIES["set_lock_timeout"], LOCK_TIMEOUT_MS)
                return await work()
        except asyncpg.LockNotAvailableError as error:
            locked = error
    raise EventsBusy(ATTEMPTS) from locked
