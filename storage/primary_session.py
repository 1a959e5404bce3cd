"""One connection to the primary outside the pool, for work that holds something until its session ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from storage.connection import Connection
from storage.database import ReadSource, Rows
from storage.hosts import Hosts
from storage.named_queries import QUERIES

CONNECT_TIMEOUT_S = 5.0
HOSTS_ASKED_APART_S = 5.0

_SERVER_SETTINGS = {
    "jit": "off",
    # A machine that vanished gives up what its session holds within half a minute.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}


class PrimarySession:
    """
    Named queries on one connection; any error of the server means that the session is over.

    Args:
        connection: To the primary.
        hosts: Where it was found.
        timeout_s: Longest wait for each query, unless it says otherwise.
    """

    def __init__(self, connection: Connection, hosts: Hosts, *, timeout_s: float) -> None:
        self._connection = connection
        self._hosts = hosts
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

    async def look_for_another(self) -> None:
        """
        Ask the hosts now and then which of them is the primary: one that was replaced may go on answering.

        Raises:
            ConnectionError: another host is the primary now; the session is over.
            asyncpg.InterfaceError: none is.
        """
        await self._hosts.check(apart_s=HOSTS_ASKED_APART_S)


@asynccontextmanager
async def primary_session(
    database_url: str, *, application: str, timeout_s: float = 30.0
) -> AsyncIterator[PrimarySession]:
    """
    Connect to the primary, whichever of the hosts in *database_url* that is; the connection is cut at the end.

    Args:
        application: Shown as application_name in pg_stat_activity.
        timeout_s: Longest wait for the connection, and for each query unless it says otherwise.

    Raises:
        OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: it cannot be reached.
    """
    hosts = Hosts(database_url, role="primary", timeout_s=CONNECT_TIMEOUT_S, on_switch=_end_session)
    settings = {"application_name": application, **_SERVER_SETTINGS}
    connection = await hosts.connect(timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    try:
        yield PrimarySession(connection, hosts, timeout_s=timeout_s)
    finally:
        hosts.close()
        connection.terminate()


def _end_session() -> None:
    raise ConnectionError("another host is the primary now")
