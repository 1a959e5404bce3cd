"""One connection to the primary outside the pool, for work that holds something until its session ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from storage.connection import Connection
from storage.database import ReadSource, Rows
from storage.named_queries import QUERIES

_SERVER_SETTINGS = {
    "jit": "off",
    # A machine that vanished gives up what its session holds within half a minute.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class PrimarySession:
    """Named queries on one connection; any error of the server means that the session is over."""

    def __init__(self, connection: Connection, *, timeout_s: float) -> None:
        self._connection = connection
        self._timeout_s = timeout_s

    async def fetch(
        self, query_name: str, *args: object, timeout_s: float | None = None, after: str | None = None
    ) -> Rows:
        """
        Return the rows of a named query; the primary has reached every token, so *after* does not matter.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: the session is over.
        """
        del after
        async with asyncio.timeout(timeout_s or self._timeout_s):
            records = await self._connection.fetch(QUERIES[query_name], *args)
        return Rows(records, ReadSource("primary", None, diverted=None))


@asynccontextmanager
async def primary_session(
    database_url: str, *, application: str, timeout_s: float = 30.0
) -> AsyncIterator[PrimarySession]:
    """
    Connect to the primary at *database_url*; the connection is cut at the end.

    Args:
        application: Shown as application_name in pg_stat_activity.
        timeout_s: Longest wait for the connection, and for each query unless it says otherwise.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: it cannot be reached.
    """
    settings = {"application_name": application, **_SERVER_SETTINGS}
    connection = await asyncpg.connect(database_url, timeout=timeout_s, server_settings=settings)
    try:
        yield PrimarySession(connection, timeout_s=timeout_s)
    finally:
        connection.terminate()
