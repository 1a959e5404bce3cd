"""A database with a few products, and events to add."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

Event = tuple[str, str, str, float | None, float]
"""user, product, type, value, days before `NOON`."""

AddEvents = Callable[[Sequence[Event]], None]
Fetch = Callable[..., list[tuple[object, ...]]]


@pytest.fixture
def fetch(database_url: str) -> Fetch:
    """Run one statement on the test's database and return its rows."""

    async def run(statement: str, *arguments: object) -> list[tuple[object, ...]]:
        connection = await asyncpg.connect(database_url)
        try:
            return [tuple(row) for row in await connection.fetch(statement, *arguments)]
        finally:
            await connection.close()

    return lambda statement, *arguments: asyncio.run(run(statement, *arguments))


@pytest.fixture
def products(fetch: Fetch) -> list[str]:
    """Products p1 to p3."""
    fetch("insert into products (id, title) values ('p1', 'one'), ('p2', 'two'), ('p3', 'three')")
    return ["p1", "p2", "p3"]


@pytest.fixture
def add_events(fetch: Fetch, products: list[str]) -> AddEvents:
    """How to add events on the products."""
    assert len(products) == 3

    def add(events: Sequence[Event]) -> None:
        users, ids, kinds, values, days = map(list, zip(*events, strict=True))
        fetch(
            "insert into events (id, user_id, product_id, type, value, occurred_at)"
            " select 'e' || number - 1, user_id, product_id, type, value, occurred_at from unnest("
            "$1::text[], $2::text[], $3::text[], $4::double precision[], $5::timestamptz[]"
            ") with ordinality as event (user_id, product_id, type, value, occurred_at, number)",
            users,
            ids,
            kinds,
            values,
            [NOON - timedelta(days=each) for each in days],
        )

    return add
