"""The attributes of products that were shown, kept for when no database answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import asyncpg
import orjson

from contracts.background import end
from retrieval.product_features import ProductFeatures
from retrieval.product_view import VIEW, product_view
from storage.cache import Cache
from storage.shelf import Shelf

# Part of the keys: another set of fields, or another meaning of one, takes the next number.
SCHEMA = 1
LIFETIME_S = 3600
FLUSH_PERIOD_S = 1.0
BATCH = 200
MOST_WAITING = 5_000
MOST_REMEMBERED = 50_000

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeptProduct:
    """
    One state of a product, as clients see it.

    Attributes:
        revision: ``updated_at``, microseconds since 1970.
        view: Its public fields.
    """

    revision: int
    view: dict[str, Any]

    @classmethod
    def of(cls, row: asyncpg.Record | Mapping[str, Any]) -> KeptProduct:
        """The product of a row of ``products_by_id``."""
        return cls((row["updated_at"] - _BEGIN) // timedelta(microseconds=1), product_view(row))

    @property
    def features(self) -> ProductFeatures:
        """What filters depend on; only products that may be shown are kept."""
        price = self.view["price"]
        return ProductFeatures(
            created_at=datetime.fromisoformat(self.view["created_at"]),
            in_stock=self.view["in_stock"],
            hidden=False,
            category=self.view["category"],
            price=None if price is None else Decimal(str(price)),
            brand=self.view["brand"],
        )


class AttributeCache:
    """
    Keeps, in the background, what the database said of products that are shown, and gives it out again.

    What is kept already is not written again before half its time is over, unless it has changed. Nothing waits for
    it, and a cache that fails or is slow makes products go unkept, never a request wait.

    Args:
        cache: Where they are kept.
        clock: Seconds from an arbitrary start, never going back.
    """

    def __init__(self, cache: Cache, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cache = cache
        self._clock = clock
        self._shelf = Shelf(cache, "attributes", ttl_s=LIFETIME_S, encode=encode_attributes, decode=decode_attributes)
        self._waiting: OrderedDict[str, asyncpg.Record] = OrderedDict()
        self._written: OrderedDict[str, tuple[datetime, float]] = OrderedDict()
        self._written_in: str | None = None
        self._writing: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the task that writes has not died; true before the start and after the end."""
        return self._writing is None or not self._writing.done()

    def start(self) -> None:
        """Write in the background from now on."""
        if self._writing is None and self._shelf.configured:
            self._writing = asyncio.create_task(self._write_for_ever(), name="attribute-cache")

    async def stop(self) -> None:
        """End; what is waiting is forgotten."""
        await end(self._writing)
        self._writing = None

    def note(self, rows: Iterable[asyncpg.Record]) -> None:
        """Have *rows* of ``products_by_id``, of products that may be shown, kept soon."""
        if self._writing is None:
            return
        now = self._clock()
        for row in rows:
            revision, until = self._written.get(row["id"], (None, 0.0))
            if revision != row["updated_at"] or now >= until:
                self._waiting[row["id"]] = row
        while len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)

    async def read(self, product_ids: Sequence[str]) -> dict[str, KeptProduct]:
        """
        Return what is kept of products, by id.

        Raises:
            CacheUnavailable: the cache did not answer.
        """
        keys = {attributes_key(product_id): product_id for product_id in product_ids}
        found = {keys[key]: kept for key, kept in (await self._shelf.read(keys)).items()}
        return {product_id: kept for product_id, kept in found.items() if kept.view["id"] == product_id}

    async def flush(self) -> None:
        """Write what is waiting; what cannot be written is forgotten, and comes again when it is shown again."""
        while self._waiting:
            rows = [self._waiting.popitem(last=False)[1] for _ in range(min(BATCH, len(self._waiting)))]
            if not await self._shelf.write({attributes_key(row["id"]): KeptProduct.of(row) for row in rows}):
                self._waiting.clear()
                return
            if self._written_in != self._cache.key_epoch:
                # Another epoch of the cache begins empty.
                self._written.clear()
                self._written_in = self._cache.key_epoch
            self._remember(rows)

    def _remember(self, rows: Sequence[asyncpg.Record]) -> None:
        until = self._clock() + LIFETIME_S / 2
        for row in rows:
            self._written[row["id"]] = (row["updated_at"], until)
            self._written.move_to_end(row["id"])
        while len(self._written) > MOST_REMEMBERED:
            self._written.popitem(last=False)

    async def _write_for_ever(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_PERIOD_S)
            try:
                if self._written_in != self._cache.key_epoch:
                    self._written.clear()
                await self.flush()
            except Exception:  # a task that dies would leave nothing for the next outage, without a word
                log.exception("attributes of products were not kept")


def attributes_key(product_id: str) -> str:
    """The key of a product's attributes."""
    return f"attributes:{SCHEMA}:{product_id}"


def encode_attributes(kept: KeptProduct) -> bytes:
    """Return *kept* as bytes."""
    return orjson.dumps([kept.revision, kept.view])


def decode_attributes(raw: bytes) -> KeptProduct:
    """The product that *raw* is, or ValueError."""
    match orjson.loads(raw):
        case [int(revision), dict(view)] if _is_view(view):
            kept = KeptProduct(revision, view)
            try:
                moment = kept.features.created_at
            except InvalidOperation as error:
                raise ValueError("has a price that is none") from error
            if moment.tzinfo is not None:
                return kept
    raise ValueError("is not the attributes of a product")


def _is_view(view: Mapping[str, Any]) -> bool:
    return view.keys() == VIEW.keys() and all(isinstance(view[name], kinds) for name, kinds in VIEW.items())
