"""One connection for one piece of upkeep, to a server named in the settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from storage.connection import Connection
from storage.errors import DatabaseUnavailable
from storage.server_failures import SERVER_FAILURES

CONNECT_TIMEOUT_S = 5.0


@asynccontextmanager
async def connected(url: str, name: str) -> AsyncIterator[Connection]:
    """
    Connect to the server at *url*, called *name* in messages; the connection is cut at the end.

    Raises:
        DatabaseUnavailable: it does not answer. What a statement raises passes through.
    """
    settings = {"application_name": "shortlist-maintenance", "jit": "off", "client_connection_check_interval": "500ms"}
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    except (*SERVER_FAILURES, TimeoutError) as error:
        raise DatabaseUnavailable(name, f"cannot connect ({error!r})") from error
    try:
        yield connection
    finally:
        connection.terminate()
