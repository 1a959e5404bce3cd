"""Whole result sets from Postgres into Arrow, by COPY: no object a row."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pyarrow as pa
from pyarrow import csv

from storage.errors import DatabaseUnavailable
from storage.settings import StorageSettings
from training.connection import connect

_BLOCK_BYTES = 8 << 20
"""The longest row that can be read."""
_ROUNDS, _WAIT_S = 3, 2.0
"""A replica that was started anew is there again within seconds."""


@asynccontextmanager
async def reading(settings: StorageSettings) -> AsyncIterator[asyncpg.Connection]:
    """
    A connection to read from inside one snapshot: the first read replica that answers; the primary where none is named.

    Raises:
        DatabaseUnavailable: none of them answers, after three rounds.
    """
    connection = await _first_that_answers(settings)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        await connection.close()


async def arrow_table(
    connection: asyncpg.Connection, query: str, *arguments: object, columns: dict[str, pa.DataType]
) -> pa.Table:
    """Return the rows of *query*, which yields *columns* in this order; an empty field is null, a quoted one text."""
    content = io.BytesIO()
    await connection.copy_from_query(query.rstrip(";\n "), *arguments, output=content, format="csv", force_quote=None)
    content.seek(0)
    if not content.getbuffer().nbytes:
        return pa.schema(columns.items()).empty_table()
    return csv.read_csv(content, **_options(columns))


@asynccontextmanager
async def arrow_batches(
    connection: asyncpg.Connection, query: str, *arguments: object, columns: dict[str, pa.DataType]
) -> AsyncIterator[Iterator[pa.RecordBatch]]:
    """
    The rows of *query* in batches, for results that are not to be held whole: they lie in a file meanwhile.

    Args, and what is read, as of `arrow_table`.
    """
    with tempfile.TemporaryFile() as file:
        await connection.copy_from_query(query.rstrip(";\n "), *arguments, output=file, format="csv", force_quote=None)
        if not file.tell():
            yield iter(())
            return
        file.seek(0)
        yield iter(csv.open_csv(file, **_options(columns)))


def _options(columns: dict[str, pa.DataType]) -> dict[str, Any]:
    return {
        "read_options": csv.ReadOptions(column_names=list(columns), block_size=_BLOCK_BYTES),
        "parse_options": csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        "convert_options": csv.ConvertOptions(
            column_types=columns, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    }


async def _first_that_answers(settings: StorageSettings) -> asyncpg.Connection:
    servers = [(f"replica-{number}", url) for number, url in enumerate(settings.replica_urls, start=1)]
    servers = servers or [("primary", settings.database_url)]
    for attempt in range(1, _ROUNDS + 1):
        for name, url in servers:
            try:
                return await connect(url, name)
            except DatabaseUnavailable as error:
                if attempt == _ROUNDS and name == servers[-1][0]:
                    raise
                print(f"{error}; trying on.", flush=True)
        await asyncio.sleep(_WAIT_S)
    raise AssertionError
