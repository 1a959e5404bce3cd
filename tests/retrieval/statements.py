"""Statements as the databases of this process get them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from storage.connection import Connection
from storage.endpoint import Endpoint
from storage.named_queries import QUERIES

NAMES = {sql: name for name, sql in QUERIES.items()}


def asked_for_a_plan() -> bool:
    """Whether this is the log of slow statements, which asks in the background and not for a request."""
    task = asyncio.current_task()
    return task is not None and task.get_name() == "slow-query-plan"


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of every statement that requests send, in order."""
    sent: list[str] = []
    connection = Endpoint.connection

    def note(query: asyncpg.connection.LoggedQuery) -> None:
        sent.append(NAMES.get(query.query, query.query))

    @asynccontextmanager
    async def listened_to(endpoint: Endpoint) -> AsyncIterator[Connection]:
        async with connection(endpoint) as open_connection:
            if asked_for_a_plan():
                yield open_connection
                return
            open_connection.add_query_logger(note)
            try:
                yield open_connection
            finally:
                open_connection.remove_query_logger(note)

    monkeypatch.setattr(Endpoint, "connection", listened_to)
    return sent
