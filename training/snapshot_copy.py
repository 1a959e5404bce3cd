"""Products, events and users from one moment of a database to parquet, in one transaction."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import asyncpg
import pyarrow as pa

from artifacts.manifest import DataWindow
from storage.errors import DatabaseUnavailable
from storage.settings import StorageSettings
from training.connection import connect
from training.data_profile import EventProfile, ProductProfile
from training.errors import NothingToTrainOn
from training.progress import say
from training.queries import QUERIES
from training.reading import arrow_batches
from training.snapshot_files import (
    EVENTS,
    PRODUCTS,
    ROWS_A_GROUP,
    USERS,
    WIDE_ROWS_A_GROUP,
    columns_read,
    write_parquet,
)
from training.snapshot_manifest import EVENTS_DIRECTORY, PRODUCTS_FILE, USERS_FILE, Partition

_ROUNDS, _WAIT_S = 3, 2.0
_SAY_EVERY_S = 2.0
_NAMES: dict[Partition, str] = {"month": "%Y-%m", "day": "%Y-%m-%d"}

# A replica ends a read in favour of replay, is stopped, or breaks off.
_INTERRUPTIONS = (
    DatabaseUnavailable,
    ConnectionError,
    TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    asyncpg.PostgresConnectionError,
    asyncpg.SerializationError,
)
_Copied = TypeVar("_Copied")


@dataclass(frozen=True)
class Copy:
    """
    What was written, all of it as of *taken_at*.

    Attributes:
        source: ``primary``, or such as ``replica-1``.
        window_end: As `SnapshotManifest` has it.
        newest_event_at: Of those that are not in the future.
    """

    directory: Path
    source: str
    taken_at: datetime
    heartbeat_at: datetime | None
    window_end: datetime | None
    data_window: DataWindow | None
    products: ProductProfile
    events: EventProfile

    @property
    def newest_event_at(self) -> datetime | None:
        """The time of the newest event that is not in the future; None without events."""
        return None if self.data_window is None else self.data_window.end


async def copied(settings: StorageSettings, directory: Path, partition: Partition, *, recent_days: int) -> Copy:
    """
    Copy everything below *directory*, from a read replica where one is named: the primary is read only where none is.

    A replica that breaks off, or ends the read in favour of replay, costs what was copied: the next begins anew.

    Args:
        partition: How much time a file of events holds.
        recent_days: The types of events of so many days before the newest are counted apart.

    Raises:
        DatabaseUnavailable: no server let a copy come to its end.
        NothingToTrainOn: there are no products.
    """

    async def copy(connection: asyncpg.Connection, source: str, number: int) -> Copy:
        attempt = directory / f"attempt-{number}"
        try:
            return await _copied_from(connection, source, attempt, partition, recent_days)
        except BaseException:
            shutil.rmtree(attempt, ignore_errors=True)
            raise

    return await _from_one_that_lasts(settings, copy)


async def _from_one_that_lasts(
    settings: StorageSettings, copy: Callable[[asyncpg.Connection, str, int], Awaitable[_Copied]]
) -> _Copied:
    """What *copy* returns, inside one snapshot of the first server on which it comes to its end."""
    servers = [(f"replica-{number}", url) for number, url in enumerate(settings.replica_urls, start=1)]
    servers = servers or [("primary", settings.database_url)]
    trouble = ""
    for number in range(_ROUNDS * len(servers)):
        name, url = servers[number % len(servers)]
        if number and number % len(servers) == 0:
            await asyncio.sleep(_WAIT_S)
        try:
            connection = await connect(url, name)
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    return await copy(connection, name, number)
            finally:
                await connection.close(timeout=5)
        except _INTERRUPTIONS as error:
            trouble = str(error) if isinstance(error, DatabaseUnavailable) else f"{type(error).__name__}: {error}"
            say(f"{name} did not last ({trouble}); beginning anew")
    advice = "Is it the server that SHORTLIST_DATABASE_URL names, and does it run?"
    if settings.replica_urls:
        advice = (
            "A snapshot is read from replicas only, where any is named: check SHORTLIST_REPLICA_URLS, and that they "
            "run with hot_standby_feedback or a high max_standby_streaming_delay"
        )
    raise DatabaseUnavailable(servers[0][0], f"No copy came to its end; the last try: {trouble}. {advice}")


async def _copied_from(
    connection: asyncpg.Connection, source: str, directory: Path, partition: Partition, recent_days: int
) -> Copy:
    moment = await connection.fetchrow(QUERIES["snapshot_moment"])
    assert moment is not None
    say(f"copying from {source}, as of {moment['taken_at']:%Y-%m-%d %H:%M:%S %Z}")
    files, scratch = directory / "files", directory / "scratch"
    products = ProductProfile(scratch)
    await _write(connection, "snapshot_products", files / PRODUCTS_FILE, PRODUCTS, products.add)
    if not products.rows:
        raise NothingToTrainOn("There are no products. Load some, then run the job again.")
    say(f"{products.rows:,} products")
    ended = moment["ended"]
    recent_from = None if ended is None else ended - timedelta(days=recent_days)
    events = EventProfile(scratch, products.ids.sorted(), recent_from)
    said = time.monotonic()
    for part in await connection.fetch(QUERIES["snapshot_event_parts"], partition):
        name = f"{part['first_moment']:{_NAMES[partition]}}"
        path = files / EVENTS_DIRECTORY / f"{name}.parquet"
        times = (part["first_moment"], part["end_moment"])
        count = await _write(connection, "snapshot_events", path, EVENTS, events.add, *times)
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            say(f"{events.rows:,} events, up to {name} ({count:,} of it)")
    say(f"{events.rows:,} events")
    await _write(connection, "user_event_counts", files / USERS_FILE, USERS, None)
    return Copy(
        directory=files,
        source=source,
        taken_at=moment["taken_at"],
        heartbeat_at=moment["heartbeat_at"],
        window_end=moment["window_end"],
        data_window=None if ended is None else DataWindow(start=moment["began"], end=ended),
        products=products,
        events=events,
    )


async def _write(
    connection: asyncpg.Connection,
    query: str,
    path: Path,
    schema: pa.Schema,
    seen: Callable[[pa.RecordBatch], None] | None,
    *arguments: object,
) -> int:
    columns = columns_read(schema)
    async with arrow_batches(connection, QUERIES[query], *arguments, columns=columns) as batches:
        rows = WIDE_ROWS_A_GROUP if schema is PRODUCTS else ROWS_A_GROUP
        return write_parquet(path, batches, schema, seen=seen, rows_a_group=rows)
