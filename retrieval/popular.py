"""Candidates by popularity: what to show when nothing is known of the user, or nothing else is left."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import orjson

from contracts.candidates import Retrieved
from contracts.requests import ReadRequest
from contracts.stages import Stage
from retrieval.epoch import Epoch, read_epoch
from retrieval.money import exact
from retrieval.reads import cache_down, one_database
from retrieval.stage_run import not_requested
from storage.cache import Cache
from storage.database import Database, ReadSource
from storage.errors import CacheUnavailable
from storage.shelf import Shelf

LIST_LIFETIME_S = 300
# Part of the keys: another shape of an entry takes the next number.
SCHEMA = 1

Popular = tuple[str, float, int]
"""Product id, popularity, revision."""


@dataclass(frozen=True, slots=True)
class PopularList:
    """
    The most popular products.

    Attributes:
        retrieved: The products.
        epoch: What of the catalogue was seen, at least.
        sources: The databases that answered.
        cache: How the cache fared.
    """

    retrieved: Retrieved
    epoch: Epoch
    sources: tuple[ReadSource, ...]
    cache: Stage


class PopularRetriever:
    """Finds the most popular products, from the cached list when there is one."""

    def __init__(self, database: Database, cache: Cache, *, limit: int) -> None:
        self._database = database
        self._lists = Shelf(cache, "popular_lists", ttl_s=LIST_LIFETIME_S, encode=orjson.dumps, decode=_decode_popular)
        self._limit = limit

    async def retrieve(self, request: ReadRequest) -> PopularList:
        """
        Return the most popular products in stock, best first.

        The score is ``popularity`` in [0, 1]. The cached list belongs to one popularity version and one position of
        the catalogue, so it never outlives a change. With a consistency token the database is asked.

        Raises:
            DatabaseUnavailable: neither a read replica nor the primary answers.
        """
        epoch, seen_by = await read_epoch(self._database, after=request.consistency_token)
        key = self._key(epoch, request)
        found, stage = await self._kept(key, request)
        if found is not None:
            return PopularList(self._retrieved(found, "redis"), epoch, (seen_by,), stage)
        found, source = await self._read(request)
        if stage.status == "ok" and one_database([seen_by, source]):
            await self._lists.write({key: found})
        return PopularList(self._retrieved(found, source.name), epoch, (seen_by, source), stage)

    def _key(self, epoch: Epoch, request: ReadRequest) -> str:
        narrowed = (self._limit, request.in_stock is not False, request.price_min, request.price_max, request.category)
        return f"popular_lists:{SCHEMA}:{epoch.popularity}:{epoch.changes}:{orjson.dumps(narrowed).decode()}"

    async def _kept(self, key: str, request: ReadRequest) -> tuple[list[Popular] | None, Stage]:
        """The list that is kept, if there is one and it may be used."""
        if request.consistency_token is not None or not self._lists.configured:
            return None, not_requested("cache")
        started = time.perf_counter()
        try:
            found = (await self._lists.read([key])).get(key)
        except CacheUnavailable as error:
            return None, cache_down(error, started)
        return found, Stage("cache", source="redis", ms=round((time.perf_counter() - started) * 1000, 3))

    async def _read(self, request: ReadRequest) -> tuple[list[Popular], ReadSource]:
        rows = await self._database.fetch(
            "popular_products",
            self._limit,
            request.category,
            request.in_stock,
            None if request.price_min is None else exact(request.price_min),
            None if request.price_max is None else exact(request.price_max),
            after=request.consistency_token,
        )
        found = [(str(row["product_id"]), float(row["popularity"]), int(row["revision"])) for row in rows.records]
        return found, rows.source

    def _retrieved(self, found: list[Popular], source: str) -> Retrieved:
        return Retrieved(
            retriever="popular",
            product_ids=[product_id for product_id, _, _ in found],
            scores=np.array([popularity for _, popularity, _ in found], dtype=np.float64),
            truncated=len(found) == self._limit,
            source=source,
            revisions={product_id: revision for product_id, _, revision in found},
        )


def _decode_popular(raw: bytes) -> list[Popular]:
    """The list that *raw* is, or ValueError."""
    rows = orjson.loads(raw)
    if not isinstance(rows, list):
        raise ValueError("is not a list of popular products")  # noqa: TRY004  what a cache decodes is a value
    return [_popular(row) for row in rows]


def _popular(row: object) -> Popular:
    match row:
        case [str(product_id), float(popularity), int(revision)]:
            return product_id, popularity, revision
    raise ValueError("is not a popular product")
