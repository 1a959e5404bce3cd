"""The type of a connection, which only asyncpg's type stubs know as generic, and why none could be made."""

from __future__ import annotations

from typing import TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    # Of several hosts, those that answer are not what the DSN asks for: a promotion is under way.
    asyncpg.TargetServerAttributeNotMatched,
)
"""What connecting raises while a server cannot be reached, as opposed to refusing us."""
