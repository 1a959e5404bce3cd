"""What a call to a database server may raise when it is the server, not the statement, that is at fault."""

from __future__ import annotations

import asyncpg

# asyncpg's own state machine stumbles when a server dies at the wrong moment.
SERVER_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

SERVER_WENT_AWAY = (
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
)

# Raised on a read replica: replay had to remove what the read was looking at.
REPLAY_CONFLICT = (asyncpg.SerializationError, asyncpg.QueryCanceledError)


def text_of(error: BaseException) -> str:
    """Return what *error* says, or its type where it says nothing."""
    return str(error) or type(error).__name__
