"""
Files into the database: validated line by line, copied in batches, merged so that importing twice changes nothing.

Works straight on Postgres and may run beside a serving graph; each batch is one transaction, so an import that was cut
off is finished by running it again.
"""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

import asyncpg
from pydantic import BaseModel, ValidationError

from catalogue.columns import FIELDS
from catalogue.events import ImportedEvent
from catalogue.products import BatchProduct
from catalogue.readers import Rejection, Row
from catalogue.store import product_row
from catalogue.users import User, user_row
from catalogue.vocabulary import refresh_keyword_head, refresh_vocabulary
from storage.connection import CONNECT_FAILURES, Connection
from storage.errors import DatabaseUnavailable
from storage.named_queries import QUERIES

BATCH = 10_000
KEPT_REJECTIONS = 100

Progress = Callable[[int], None]
Model = TypeVar("Model", bound=BaseModel)

_PRODUCT_COLUMNS = ("number", *FIELDS["products"])
_EVENT_COLUMNS = ("number", "id", "user_id", "product_id", "type", "value", "occurred_at", "request_id")
_USER_COLUMNS = ("number", "id", "attributes")


@dataclass
class ImportReport:
    """
    What became of a file.

    Args:
        read: Lines read, blank ones apart.
        loaded: Products or users that are new or changed, events that are new.
        unchanged: Lines that were in the database just so already.
        duplicates: Lines whose id stands in the file again: of products and users the last counts, of events the first
            (events that the database has already count here too).
        rejected: Why lines were not loaded, the first hundred of them.
        rejected_count: How many were not.
        seconds: Time taken.
    """

    read: int = 0
    loaded: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    rejected_count: int = 0
    seconds: float = 0.0

    def reject(self, rejection: Rejection) -> None:
        """Count *rejection*, and keep it while there are few."""
        self.rejected_count += 1
        if len(self.rejected) < KEPT_REJECTIONS:
            self.rejected.append(rejection)


async def import_products(
    database_url: str, rows: Iterable[Row | Rejection], *, progress: Progress | None = None
) -> ImportReport:
    """
    Load products; what a line leaves out is cleared, but for ``created_at`` and ``hidden``.

    Args:
        database_url: The primary.
        rows: As `read_rows` gives them; lines to be rejected may be among them.
        progress: Called with the number of lines read so far, after each batch.

    Returns:
        The report. Rows that are unchanged make no entry in the change feed. Search by words knows the new words.

    Raises:
        DatabaseUnavailable: the primary cannot be reached or went away; running the import again completes it.
        ImportRefused: raised by *rows*.
    """
    report = ImportReport()
    started = time.monotonic()
    async with _session(database_url) as connection:
        await connection.execute(QUERIES["make_incoming_products"])
        staged = 0
        for batch in _batches(rows):
            records = [
                (staged + number, *product_row(product))
                for number, product in enumerate(_valid(batch, BatchProduct, report), start=1)
            ]
            await connection.copy_records_to_table("incoming_products", records=records, columns=_PRODUCT_COLUMNS)
            staged += len(records)
            _tell(progress, report)
        await connection.execute("analyze incoming_products")
        await connection.execute(QUERIES["drop_superseded_products"])
        merged = 0
        async with _text_index_in_bulk(connection, wanted=staged > BATCH):
            for first in range(1, staged + 1, BATCH):
                counts = await connection.fetchrow(QUERIES["merge_incoming_products"], first, first + BATCH - 1)
                assert counts is not None
                merged += counts["merged"]
                report.loaded += counts["changed"]
            await refresh_vocabulary(connection)
            await refresh_keyword_head(connection)
        report.unchanged = merged - report.loaded
        report.duplicates = staged - merged
    report.seconds = time.monotonic() - started
    return report


async def import_events(
    database_url: str, rows: Iterable[Row | Rejection], *, progress: Progress | None = None
) -> ImportReport:
    """
    Load events, each id once; an event without an id gets one from its content, so that it too is loaded once.

    Arguments and errors are those of `import_products`. Months that have no partition yet get one.
    """
    report = ImportReport()
    started = time.monotonic()
    months: set[tuple[int, int]] = set()
    async with _session(database_url) as connection:
        await connection.execute(QUERIES["make_incoming_events"])
        for batch in _batches(rows):
            records = [
                (number, *_event_row(event)) for number, event in enumerate(_valid(batch, ImportedEvent, report))
            ]
            await _make_partitions(connection, (event[6] for event in records), months)
            async with connection.transaction():
                await connection.copy_records_to_table("incoming_events", records=records, columns=_EVENT_COLUMNS)
                accepted: int = await connection.fetchval(QUERIES["merge_incoming_events"])
                await connection.execute(QUERIES["empty_incoming_events"])
            report.loaded += accepted
            report.duplicates += len(records) - accepted
            _tell(progress, report)
    report.seconds = time.monotonic() - started
    return report


async def import_users(
    database_url: str, rows: Iterable[Row | Rejection], *, progress: Progress | None = None
) -> ImportReport:
    """Load users and what is known of them. Arguments and errors are those of `import_products`."""
    report = ImportReport()
    started = time.monotonic()
    async with _session(database_url) as connection:
        await connection.execute(QUERIES["make_incoming_users"])
        for batch in _batches(rows):
            records = [(number, *user_row(user)) for number, user in enumerate(_valid(batch, User, report))]
            async with connection.transaction():
                await connection.copy_records_to_table("incoming_users", records=records, columns=_USER_COLUMNS)
                changed = await connection.fetch(QUERIES["merge_incoming_users"])
                await connection.execute(QUERIES["empty_incoming_users"])
            once = len({record[1] for record in records})
            report.loaded += len(changed)
            report.unchanged += once - len(changed)
            report.duplicates += len(records) - once
            _tell(progress, report)
    report.seconds = time.monotonic() - started
    return report


@asynccontextmanager
async def _session(database_url: str) -> AsyncIterator[Connection]:
    try:
        connection = await asyncpg.connect(
            database_url, timeout=10, server_settings={"application_name": "import", "jit": "off"}
        )
    except CONNECT_FAILURES as error:
        raise DatabaseUnavailable("primary", f"cannot connect to import ({error})") from error
    try:
        yield connection
    except (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError) as error:
        raise DatabaseUnavailable("primary", f"went away ({error}). Run the import again to complete it") from error
    finally:
        connection.terminate()


@asynccontextmanager
async def _text_index_in_bulk(connection: Connection, *, wanted: bool) -> AsyncIterator[None]:
    """
    Let the text indexes take many entries at a time, several times as fast; searches are some milliseconds slower.

    An import that was cut off leaves it so, and the next one, of whatever size, puts it back.
    """
    if wanted:
        await connection.execute(QUERIES["gather_text_entries"])
    try:
        yield
    finally:
        if not connection.is_closed():
            await connection.execute(QUERIES["enter_text_at_once"])
            await connection.execute(QUERIES["enter_gathered_text"])


def _batches(rows: Iterable[Row | Rejection]) -> Iterator[list[Row | Rejection]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch


def _valid(batch: list[Row | Rejection], model: type[Model], report: ImportReport) -> list[Model]:
    valid: list[Model] = []
    validate = model.__pydantic_validator__.validate_python
    for row in batch:
        report.read += 1
        if isinstance(row, Rejection):
            report.reject(row)
            continue
        try:
            valid.append(validate(row.fields))
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            report.reject(Rejection(row.line, place, first["msg"]))
    return valid


def _event_row(event: ImportedEvent) -> tuple[str, str, str, str, float | None, datetime, str | None]:
    content = (event.user_id, event.product_id, event.type, event.value, event.timestamp, event.request_id)
    event_id = event.id or hashlib.blake2b(repr(content).encode(), digest_size=16).hexdigest()
    return (event_id, *content)


async def _make_partitions(connection: Connection, moments: Iterable[datetime], made: set[tuple[int, int]]) -> None:
    missing = {(moment.year, moment.month): moment for moment in moments if (moment.year, moment.month) not in made}
    if missing:
        await connection.execute(QUERIES["ensure_event_partitions"], list(missing.values()))
        made.update(missing)


def _tell(progress: Progress | None, report: ImportReport) -> None:
    if progress is not None:
        progress(report.read)
