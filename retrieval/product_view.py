"""A product as clients see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import asyncpg

_TEXT = (str, type(None))

VIEW: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "title": (str,),
    "description": _TEXT,
    "category": _TEXT,
    "brand": _TEXT,
    "price": (float, int, type(None)),
    "currency": _TEXT,
    "in_stock": (bool,),
    "image_url": _TEXT,
    "created_at": (str,),
    "attributes": (dict,),
}
"""The public fields, and what each may be."""


def product_view(row: asyncpg.Record | Mapping[str, Any]) -> dict[str, Any]:
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
