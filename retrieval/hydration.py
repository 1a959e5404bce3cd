"""Features and attributes of many products at once: one batched read a source, the sources side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import numpy as np

from contracts.candidates import Candidates
from contracts.requests import ReadRequest
from retrieval.fusion import Fused
from retrieval.money import exact
from retrieval.product_view import product_view
from storage.database import Database, ReadSource
from storage.errors import DatabaseUnavailable

# Most seconds for one product from one server, so that a frozen one is passed by.
ONE_PRODUCT_S = 1.0


@dataclass(frozen=True, slots=True)
class Hydrated:
    """Candidates with their features, and what the reads said: position, versions and databases."""

    candidates: Candidates
    changes: str
    vocabulary: str
    popularity_version: str | None
    sources: tuple[ReadSource, ...]


class Hydrator:
    """Reads what ranking and the response need of products."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def candidates(self, fused: Fused, *, request: ReadRequest, relevance: bool) -> Hydrated:
        """
        Return the fused products that exist and pass the request's filters, with their features.

        Args:
            fused: Products and where each retriever placed them.
            request: Its filters are applied.
            relevance: Whether the fused score is relevance to a query; else ``search`` is absent.

        Raises:
            DatabaseUnavailable: neither a read replica nor the primary answers.
        """
        products, popularity, active, position = await asyncio.gather(
            self._database.fetch("product_features", fused.product_ids),
            self._database.fetch("popularity_features", fused.product_ids),
            self._database.fetch("active_popularity_version"),
            self._database.fetch("catalogue_position"),
        )
        version = active.records[0]["version"] if active.records else None
        window_end = active.records[0]["window_end"] if active.records else datetime.now(UTC)
        return Hydrated(
            candidates=_with_features(
                fused,
                {row["product_id"]: row for row in products.records if _passes(row, request)},
                {row["product_id"]: row["popularity"] for row in popularity.records},
                window_end=window_end,
                relevance=relevance,
                unseen_popularity=np.nan if version is None else 0.0,
            ),
            changes=str(position.records[0]["seen"]),
            vocabulary=str(position.records[0]["text_search_version"]),
            popularity_version=version,
            sources=(products.source, popularity.source, active.source, position.source),
        )

    async def products(self, product_ids: Sequence[str]) -> tuple[dict[str, dict[str, Any]], ReadSource]:
        """
        Return those *product_ids* that exist, as clients see them, by id; and the database that answered.

        Raises:
            DatabaseUnavailable: neither a read replica nor the primary answers.
        """
        rows = await self._database.fetch("products_by_id", list(product_ids))
        return {row["id"]: product_view(row) for row in rows.records}, rows.source

    async def product_as_written(self, product_id: str) -> dict[str, Any] | None:
        """
        Return one product as last written, or None: from the primary, or from a read replica while that is down.

        Raises:
            DatabaseUnavailable: no database answers.
        """
        try:
            records = await self._database.fetch_primary("products_by_id", [product_id], timeout_s=ONE_PRODUCT_S)
        except DatabaseUnavailable:
            rows = await self._database.fetch("products_by_id", [product_id], timeout_s=ONE_PRODUCT_S)
            records = rows.records
        return product_view(records[0]) if records else None


def without_features(fused: Fused, *, relevance: bool) -> Candidates:
    """The candidates as retrieved, nothing being known of them: in stock and shown, without popularity or age."""
    size = len(fused.product_ids)
    return Candidates(
        product_ids=fused.product_ids,
        search=fused.rrf if relevance else np.full(size, np.nan),
        popularity=np.full(size, np.nan),
        age_days=np.full(size, np.nan),
        in_stock=np.ones(size, dtype=np.bool_),
        hidden=np.zeros(size, dtype=np.bool_),
        placings=fused.placings,
    )


def _with_features(
    fused: Fused,
    products: Mapping[str, asyncpg.Record],
    popularity: Mapping[str, float],
    *,
    window_end: datetime,
    relevance: bool,
    unseen_popularity: float,
) -> Candidates:
    found = np.fromiter((product_id in products for product_id in fused.product_ids), np.bool_, len(fused.product_ids))
    bare = without_features(fused, relevance=relevance).only(found)
    rows = [products[product_id] for product_id in bare.product_ids]
    return Candidates(
        product_ids=bare.product_ids,
        search=bare.search,
        popularity=np.array(
            [popularity.get(product_id, unseen_popularity) for product_id in bare.product_ids], dtype=np.float64
        ),
        age_days=np.array([(window_end.date() - row["created_at"].date()).days for row in rows], dtype=np.float64),
        in_stock=np.array([row["in_stock"] for row in rows], dtype=np.bool_),
        hidden=np.array([row["hidden"] for row in rows], dtype=np.bool_),
        placings=bare.placings,
    )


def _passes(row: asyncpg.Record, request: ReadRequest) -> bool:
    """Whether a product passes the request's filters; one without a price never passes a price bound."""
    price = row["price"]
    return (
        (request.category is None or row["category"] == request.category)
        and (request.price_min is None or (price is not None and price >= exact(request.price_min)))
        and (request.price_max is None or (price is not None and price <= exact(request.price_max)))
        and (request.in_stock is None or row["in_stock"] == request.in_stock)
    )
