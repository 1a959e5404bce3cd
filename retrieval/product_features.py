"""What filters, rules and features need of a product, and which products a request lets through."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import asyncpg

from contracts.requests import ReadRequest
from retrieval.money import exact


@dataclass(frozen=True, slots=True)
class ProductFeatures:
    """
    One state of a product, as far as filters, rules and features depend on it.

    Attributes:
        created_at: With a zone.
        price: None where the product has none.
    """

    created_at: datetime
    in_stock: bool
    hidden: bool
    category: str | None
    price: Decimal | None
    brand: str | None

    @classmethod
    def of(cls, row: asyncpg.Record) -> ProductFeatures:
        """The features in a row of ``product_features`` or ``products_by_id``."""
        return cls(
            created_at=row["created_at"],
            in_stock=row["in_stock"],
            hidden=row["hidden"],
            category=row["category"],
            price=row["price"],
            brand=row["brand"],
        )

    def passes(self, request: ReadRequest) -> bool:
        """Whether the product passes the filters of *request*; one without a price never passes a price bound."""
        return (
            (request.category is None or self.category == request.category)
            and (request.price_min is None or (self.price is not None and self.price >= exact(request.price_min)))
            and (request.price_max is None or (self.price is not None and self.price <= exact(request.price_max)))
            and (request.in_stock is None or self.in_stock == request.in_stock)
        )


def still_shown(rows: Iterable[asyncpg.Record], request: ReadRequest) -> list[asyncpg.Record]:
    """
    Return those of *rows*, rows of ``products_by_id``, that an answer to *request* may show, in the same order.

    It is asked last, of what the database says now: since a product was found it may have been hidden, sold out, moved
    or repriced. One out of stock is shown only when that was asked for.
    """
    return [row for row in rows if may_be_shown(ProductFeatures.of(row), request)]


def may_be_shown(product: ProductFeatures, request: ReadRequest) -> bool:
    """Whether an answer to *request* may show *product*."""
    return not product.hidden and (product.in_stock or request.in_stock is False) and product.passes(request)
