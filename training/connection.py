"""One connection to Postgres for one step of a job."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from storage.errors import DatabaseUnavailable

_REFUSALS = (
    OSError,
    TimeoutError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.TargetServerAttributeNotMatched,
)
_ADVICE = "Check SHORTLIST_DATABASE_URL and SHORTLIST_REPLICA_URLS, and that the servers run"


async def connect(url: str, name: str) -> asyncpg.Connection:
    """
    Connect to the database at *url*, called *name* in messages.

    Raises:
        DatabaseUnavailable: it does not answer, or refuses.
    """
    try:
        return await asyncpg.connect(url, timeout=5, server_settings={"application_name": "training"})
    except _REFUSALS as error:
        raise DatabaseUnavailable(name, f"{error!r}. {_ADVICE}") from error


@asynccontextmanager
async def primary(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the primary, closed at the end."""
    connection = await connect(url, "primary")
    try:
        yield connection
    finally:
        await connection.close()
