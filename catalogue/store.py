"""Products, events and impressions into the primary, inside the caller's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import orjson

from catalogue.events import Event
from catalogue.impressions import Impression
from catalogue.products import BatchProduct
from storage.connection import Connection
from storage.named_queries import QUERIES


@dataclass(frozen=True, slots=True)
class InsertedEvents:
    """How many events were new, and how many were there already (or twice in the same batch)."""

    accepted: int
    duplicates: int


def product_row(product: BatchProduct) -> tuple[object, ...]:
    """Return a product's columns in the order of ``upsert_products``."""
    return (
        product.id,
        product.title,
        product.description,
        product.category,
        product.brand,
        None if product.price is None else Decimal(repr(product.price)),
        product.currency,
        product.in_stock,
        product.hidden,
        product.image_url,
        product.created_at,
        orjson.dumps(product.attributes).decode(),
    )


async def upsert_products(connection: Connection, products: Sequence[BatchProduct]) -> int:
    """
    Write *products* whole and return how many really changed; unchanged ones leave no trace in the change feed.

    What a product leaves out is cleared, but for ``created_at`` and ``hidden``. Of equal ids the last wins.

    Raises:
        asyncpg.PostgresError: the transaction is lost; nothing is written.
    """
    rows = {product.id: product_row(product) for product in products}
    if not rows:
        return 0
    columns = [list(column) for column in zip(*rows.values(), strict=True)]
    return len(await connection.fetch(QUERIES["upsert_products"], *columns))


async def delete_product(connection: Connection, product_id: str) -> bool:
    """Delete a product and return whether it was there. Its events stay: it may come back."""
    return await connection.fetchval(QUERIES["delete_product"], product_id) is not None


async def insert_events(connection: Connection, events: Sequence[Event]) -> InsertedEvents:
    """
    Add *events*, each id once however often it is sent, and make the users that are new.

    An event without an id gets one, an event without a time happened now. An event for a product that does not exist
    is kept and counts once the product does.

    Raises:
        asyncpg.PostgresError: the transaction is lost; nothing is written.
    """
    if not events:
        return InsertedEvents(0, 0)
    now = datetime.now(UTC)
    rows = (
        (
            event.id or uuid.uuid4().hex,
            event.user_id,
            event.product_id,
            event.type,
            event.value,
            event.timestamp or now,
            event.request_id,
        )
        for event in events
    )
    columns = [list(column) for column in zip(*rows, strict=True)]
    accepted: int = await connection.fetchval(QUERIES["insert_events"], *columns)
    return InsertedEvents(accepted, len(events) - accepted)


async def record_impressions(
    connection: Connection, impressions: Sequence[Impression], *, statement_s: float | None = None
) -> None:
    """
    Add those of *impressions* that are not there yet: a batch of which nothing was heard may be sent again.

    Args:
        connection: In a transaction.
        impressions: In any order.
        statement_s: Seconds after which the server itself is to end a statement.

    Raises:
        asyncpg.QueryCanceledError: a statement took longer.
        asyncpg.PostgresError: the transaction is lost; nothing is written.
    """
    rows = [
        (
            impression.request_id,
            impression.shown_at,
            impression.kind,
            impression.user_id,
            impression.query,
            list(impression.product_ids),
            list(impression.ranks),
            list(impression.scores),
            orjson.dumps(list(impression.features)).decode(),
            orjson.dumps(dict(impression.versions)).decode(),
        )
        for impression in impressions
    ]
    if statement_s is not None:
        await connection.execute(QUERIES["limit_statements"], round(statement_s * 1000))
    await connection.execute(QUERIES["lock_impressions"], [impression.request_id for impression in impressions])
    await connection.executemany(QUERIES["insert_impression"], rows)
