"""Candidates by popularity: what to show when nothing is known of the user, or nothing else is left."""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import orjson

from contracts.candidates import Retrieved
from contracts.deadline import time_limit
from contracts.requests import ReadRequest
from contracts.stages import Cause, Stage
from retrieval.epoch import Epoch, read_epoch
from retrieval.money import exact
from retrieval.reads import cache_down, one_database
from retrieval.stage_run import cause_of, not_requested
from storage.cache import Cache
from storage.database import Database, ReadSource
from storage.errors import CacheUnavailable, DatabaseUnavailable
from storage.shelf import Shelf

LIST_LIFETIME_S = 300
LISTS_REMEMBERED = 32
"""How many lists, each narrowed otherwise, a process can still give out when no database answers."""

# What the databases may take of the time given, so that something is left for doing without them.
DATABASE_SHARE = 0.7
# What the cache may then take of it, so that the list in memory can still be given out.
CACHE_SHARE = 0.2
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
        epoch: What of the catalogue was seen, at least; None where no database answered.
        sources: The databases that answered.
        cache: How the cache fared.
        unread: Why no database answered, so that this is the list as it was when one last did.
    """

    retrieved: Retrieved
    epoch: Epoch | None
    sources: tuple[ReadSource, ...]
    cache: Stage
    unread: Cause | None = None


class PopularRetriever:
    """Finds the most popular products, from the cached list when there is one."""

    def __init__(self, database: Database, cache: Cache, *, limit: int) -> None:
        self._database = database
        self._lists = Shelf(cache, "popular_lists", ttl_s=LIST_LIFETIME_S, encode=orjson.dumps, decode=_decode_popular)
        self._limit = limit
        self._last_epoch: Epoch | None = None
        self._last: OrderedDict[bytes, list[Popular]] = OrderedDict()

    async def retrieve(self, request: ReadRequest, *, timeout_s: float | None = None) -> PopularList:
        """
        Return the most popular products in stock, best first.

        The score is ``popularity`` in [0, 1]. The cached list belongs to one popularity version and one position of
        the catalogue, so it never outlives a change. With a consistency token the database is asked. When none
        answers in its share of *timeout_s* the list is the one that was in force last.

        Raises:
            DatabaseUnavailable: neither a read replica nor the primary answers, and there is no earlier list.
        """
        try:
            async with time_limit(None if timeout_s is None else timeout_s * DATABASE_SHARE):
                popular = await self._current(request)
        except (DatabaseUnavailable, TimeoutError) as error:
            cache_s = None if timeout_s is None else timeout_s * CACHE_SHARE
            found = await self._remembered(request, cache_s)
            if found is None:
                raise
            return PopularList(
                self._retrieved(found, "memory"), None, (), not_requested("cache"), unread=cause_of(error)
            )
        self._remember(request, popular)
        return popular

    def last(self, request: ReadRequest, *, unread: Cause) -> PopularList | None:
        """
        Return the list that this process gave out last, without waiting for anything; None if there is none.

        Args:
            request: What it is narrowed by.
            unread: Why it is not read.
        """
        found = self._last.get(self._narrowed(request))
        if found is None:
            return None
        return PopularList(self._retrieved(found, "memory"), None, (), not_requested("cache"), unread=unread)

    async def _current(self, request: ReadRequest) -> PopularList:
        epoch, seen_by = await read_epoch(self._database, after=request.consistency_token)
        key = self._key(epoch, request)
        found, stage = await self._kept(key, request)
        if found is not None:
            return PopularList(self._retrieved(found, "redis"), epoch, (seen_by,), stage)
        found, source = await self._read(request)
        if stage.status == "ok" and one_database([seen_by, source]):
            await self._lists.write({key: found})
        return PopularList(self._retrieved(found, source.name), epoch, (seen_by, source), stage)

    async def _remembered(self, request: ReadRequest, cache_s: float | None) -> list[Popular] | None:
        """The list that another process keeps of what was seen last, or the last that this one gave out."""
        if self._last_epoch is not None:
            with suppress(TimeoutError):
                async with time_limit(cache_s):
                    found, _ = await self._kept(self._key(self._last_epoch, request), request)
                    if found is not None:
                        return found
        return self._last.get(self._narrowed(request))

    def _remember(self, request: ReadRequest, popular: PopularList) -> None:
        self._last_epoch = popular.epoch
        narrowed, retrieved = self._narrowed(request), popular.retrieved
        self._last[narrowed] = [
            (product_id, popularity, retrieved.revisions[product_id])
            for product_id, popularity in zip(retrieved.product_ids, retrieved.scores.tolist(), strict=True)
        ]
        self._last.move_to_end(narrowed)
        if len(self._last) > LISTS_REMEMBERED:
            self._last.popitem(last=False)

    def _narrowed(self, request: ReadRequest) -> bytes:
        narrowed = (self._limit, request.in_stock is not False, request.price_min, request.price_max, request.category)
        return orjson.dumps(narrowed)

    def _key(self, epoch: Epoch, request: ReadRequest) -> str:
        return f"popular_lists:{SCHEMA}:{epoch.popularity}:{epoch.changes}:{self._narrowed(request).decode()}"

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
