"""The texts of products as they stand in Postgres, by ranges of ids: never the whole catalogue's at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
import pyarrow as pa

from artifacts.product_text import product_text, text_digest
from artifacts.self_test import evenly
from storage.named_queries import QUERIES as SERVING_QUERIES
from storage.settings import StorageSettings
from training.errors import NothingToTrainOn
from training.queries import QUERIES
from training.reading import arrow_table, reading

LEAST_RANGE, MOST_RANGES = 1_000, 2_000
_COLUMNS = {
    "product_id": pa.string(),
    "title": pa.string(),
    "description": pa.string(),
    "category": pa.string(),
    "brand": pa.string(),
    "attributes": pa.string(),
    "text_digest": pa.string(),
    "updated_at": pa.int64(),
}


@dataclass(frozen=True)
class ProductText:
    """
    A product as the encoder reads it.

    Attributes:
        untitled: Its text without the title; may be empty.
        digest: Of the text.
        is_embedded: Whether the stored vector was made from this very text.
        updated_at: Microseconds since 1970.
    """

    product_id: str
    title: str
    text: str
    untitled: str
    digest: bytes
    is_embedded: bool
    updated_at: int


@dataclass(frozen=True)
class IdRange:
    """The products from *first* up to, and without, *end*; None: up to the last."""

    first: str
    end: str | None


@dataclass(frozen=True)
class CatalogueLook:
    """
    What is known of the catalogue before it is read.

    Attributes:
        ranges: All ids, those that are to come included.
        changes_position: The change of the catalogue that was the last when looked.
        sample: Some products, evenly spaced by id.
    """

    ranges: list[IdRange]
    changes_position: str
    sample: list[ProductText]


async def look_at_catalogue(
    settings: StorageSettings, *, sample: int, products_a_range: int = LEAST_RANGE
) -> CatalogueLook:
    """
    Return how to go through the products, and some of them.

    Args:
        settings: Where to read.
        sample: How many of them at most.
        products_a_range: How many at least go through at once; more where there would be too many ranges.

    Raises:
        NothingToTrainOn: there are no products.
    """
    async with reading(settings) as connection:
        position = await connection.fetchrow(SERVING_QUERIES["catalogue_position"])
        count = int(await connection.fetchval(QUERIES["product_count"]))
        firsts = await _firsts(connection, max(products_a_range, count // MOST_RANGES))
        if not firsts or position is None:
            raise NothingToTrainOn("There are no products. Load some, then run the job again.")
        candidates = await _firsts(connection, max(1, count // sample))
        ids = [candidates[row] for row in evenly(len(candidates), sample)]
        sampled = await read_products(connection, "", ids=ids)
    ends = [*firsts[1:], None]
    ranges = [IdRange(first, end) for first, end in zip(["", *firsts[1:]], ends, strict=True)]
    return CatalogueLook(ranges, str(position["position"]), sampled)


async def read_products(
    connection: asyncpg.Connection,
    encoder_version: str,
    within: IdRange | None = None,
    *,
    ids: Sequence[str] | None = None,
) -> list[ProductText]:
    """Return the products *within* a range, or those of *ids*, by id."""
    span = within or IdRange("", None)
    arguments = (encoder_version, span.first, span.end, None if ids is None else list(ids))
    table = await arrow_table(connection, QUERIES["products_to_embed"], *arguments, columns=_COLUMNS)
    return [_product_text(row) for row in table.to_pylist()]


def _product_text(row: dict[str, str]) -> ProductText:
    fields = {name: row[name] for name in ("description", "category", "brand")}
    attributes = json.loads(row["attributes"])
    text = product_text(row["title"], **fields, attributes=attributes)
    digest = text_digest(text)
    return ProductText(
        product_id=row["product_id"],
        title=row["title"],
        text=text,
        untitled=product_text("", **fields, attributes=attributes),
        digest=digest,
        is_embedded=row["text_digest"] == digest.hex(),
        updated_at=int(row["updated_at"]),
    )


async def _firsts(connection: asyncpg.Connection, every: int) -> list[str]:
    return [str(row["id"]) for row in await connection.fetch(QUERIES["product_ranges"], every)]
