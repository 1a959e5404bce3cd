"""A product as clients see it."""

from __future__ import annotations

from typing import Any

import asyncpg


def product_view(row: asyncpg.Record) -> dict[str, Any]:
    """Return the public fields of a ``products`` row: the price as a number, the time as RFC 3339 text."""
    return {
        "id": row["id"],
        "title": row["title"],
        "description": row["description"],
        "category": row["category"],
        "brand": row["brand"],
        "price": None if row["price"] is None else float(row["price"]),
        "currency": row["currency"],
        "in_stock": row["in_stock"],
        "image_url": row["image_url"],
        "created_at": row["created_at"].isoformat(),
        "attributes": row["attributes"],
    }
