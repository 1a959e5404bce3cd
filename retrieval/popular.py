"""Candidates by popularity: what to show when nothing is known of the user, or nothing else is left."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np
import orjson

from contracts.candidates import Retrieved
from contracts.requests import ReadRequest
from contracts.stages import Stage
from retrieval.money import exact
from storage.cache import Cache
from storage.database import Database, ReadSource
from storage.errors import CacheUnavailable

LIST_LIFETIME_S = 300


@dataclass(frozen=True, slots=True)
class PopularList:
    """The most popular products, the databases that answered, and how the cache fared."""

    retrieved: Retrieved
    sources: tuple[ReadSource, ...]
    cache: Stage


class PopularRetriever:
    """Finds the most popular products, from the cached list when there is one."""

    def __init__(self, database: Database, cache: Cache, *, limit: int) -> None:
        self._database = database
        self._cache = cache
        self._limit = limit

    async def retrieve(self, request: ReadRequest) -> PopularList:
        """
        Return the most popular products in stock, best first.

        The score is ``popularity`` in [0, 1]. The cached list belongs to one popularity version and one position of
        the catalogue, so it never outlives a change.

        Raises:
            DatabaseUnavailable: neither a read replica nor the primary answers.
        """
        active, position = await asyncio.gather(
            self._database.fetch("active_popularity_version"), self._database.fetch("catalogue_position")
        )
        version = active.records[0]["version"] if active.records else ""
        filters = (request.in_stock is not False, request.price_min, request.price_max, request.category)
        narrowed = ":".join(map(str, (self._limit, *filters)))
        key = f"popular:{version}:{position.records[0]['seen']}:{narrowed}"
        started = time.perf_counter()
        sources: tuple[ReadSource, ...] = (active.source, position.source)
        try:
            cached = await self._cache.get(key)
            if cached is None:
                found, source = await self._read(request)
                await self._cache.set(key, orjson.dumps(found), LIST_LIFETIME_S)
                sources, origin = (*sources, source), source.name
            else:
                found, origin = orjson.loads(cached), "redis"
            stage = Stage("cache", source="redis", ms=round((time.perf_counter() - started) * 1000, 3))
        except CacheUnavailable:
            ms = round((time.perf_counter() - started) * 1000, 3)
            stage = Stage("cache", status="fallback", fallback="database", cause="unavailable", ms=ms)
            found, source = await self._read(request)
            sources, origin = (*sources, source), source.name
        return PopularList(self._retrieved(found, origin), sources, stage)

    async def _read(self, request: ReadRequest) -> tuple[list[tuple[str, float]], ReadSource]:
        rows = await self._database.fetch(
            "popular_products",
            self._limit,
            request.category,
            request.in_stock,
            None if request.price_min is None else exact(request.price_min),
            None if request.price_max is None else exact(request.price_max),
        )
        return [(str(row["product_id"]), float(row["popularity"])) for row in rows.records], rows.source

    def _retrieved(self, found: list[tuple[str, float]], source: str) -> Retrieved:
        return Retrieved(
            retriever="popular",
            product_ids=[product_id for product_id, _ in found],
            scores=np.array([popularity for _, popularity in found], dtype=np.float64),
            truncated=len(found) == self._limit,
            source=source,
        )
