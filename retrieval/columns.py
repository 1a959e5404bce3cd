"""What filters look at, of every product, in memory: one column an attribute, one slot a product."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import asyncpg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.id_map import IdMap
from contracts.requests import ReadRequest
from retrieval.money import exact
from storage.database import Database
from storage.feed_position import FeedPosition

PAGE = 5000
PRICE_UNITS = 10_000
_PAGE_S = 10.0
_NO_PRICE = -1
_ROOM = 1024

Mask = NDArray[np.bool_]
Slots = NDArray[np.int32]
Change = Mapping[str, Any] | asyncpg.Record
"""A row of ``changed_products``, or what has its columns."""

_COLUMNS: tuple[tuple[str, type[np.generic]], ...] = (
    ("category", np.int32),
    ("price", np.int64),
    ("in_stock", np.bool_),
    ("shown", np.bool_),
    ("revision", np.int64),
)


class AttributeColumns:
    """
    Category, price, stock and revision of n products, and whether each may be shown.

    A product keeps its slot for good: one that is deleted is marked, and has the same slot should it come back. Reading
    while another thread applies changes may show some of them; hold a lock where that matters.
    """

    def __init__(self) -> None:
        self._ids = IdMap()
        self._later: dict[str, int] = {}
        self._categories: dict[str | None, int] = {None: 0}
        self._columns: dict[str, NDArray[Any]] = {name: np.zeros(0, dtype) for name, dtype in _COLUMNS}

    @classmethod
    async def load(cls, database: Database) -> tuple[AttributeColumns, FeedPosition]:
        """
        Return the columns of the whole catalogue, read page by page, and from where on they need the feed.

        That is the least of the pages' positions, since each may be read of another server.

        Raises:
            DatabaseUnavailable: no database answers; nothing is kept.
        """
        columns, pages, last = cls(), _Pages(), ""
        positions: list[FeedPosition] = []
        while True:
            rows = await database.fetch("product_attributes", last, PAGE, timeout_s=_PAGE_S)
            page = rows.records[0]
            positions.append(FeedPosition.parse(page["position"]))
            if page["ids"] is None:
                break
            await asyncio.to_thread(pages.add, page, columns._category_codes)
            last = page["ids"][-1]
        await asyncio.to_thread(columns._take, pages)
        return columns, min(positions, key=lambda position: position.cursor)

    def copy(self) -> AttributeColumns:
        """Columns of the same content that change apart from these; the ids that both began with are shared."""
        other = AttributeColumns()
        other._ids, other._later = self._ids, dict(self._later)
        other._categories = dict(self._categories)
        other._columns = {name: column.copy() for name, column in self._columns.items()}
        return other

    def __len__(self) -> int:
        """The number of slots."""
        return len(self._ids) + len(self._later)

    @property
    def products(self) -> int:
        """How many products there are that may be shown."""
        return int(np.count_nonzero(self._columns["shown"]))

    @property
    def nbytes(self) -> int:
        """Bytes held by columns and ids, those of later products apart."""
        return self._ids.nbytes + sum(column.nbytes for column in self._columns.values())

    def apply(self, changes: Iterable[Change]) -> None:
        """Take over the products' state; a change that is already known does no harm."""
        newest = {str(change["product_id"]): change for change in changes}
        stored = {product_id: change for product_id, change in newest.items() if change["stored"]}
        slots = self._slots_for(list(stored))
        for name, values in (
            ("category", self._category_codes(change["category"] for change in stored.values())),
            ("price", [_NO_PRICE if change["price"] is None else change["price"] for change in stored.values()]),
            ("in_stock", [change["in_stock"] for change in stored.values()]),
            ("shown", [not change["hidden"] for change in stored.values()]),
            ("revision", [change["revision"] for change in stored.values()]),
        ):
            self._columns[name][slots] = values
        gone = self.slots_of([product_id for product_id in newest if product_id not in stored])
        self._columns["shown"][gone[gone >= 0]] = False

    def passing(self, request: ReadRequest) -> Mask:
        """
        Return which slots hold a product that may be shown and passes the request's filters, shape (n,).

        A product without a price passes no price bound.
        """
        size = len(self)
        keep: Mask = self._columns["shown"][:size].copy()
        if request.category is not None:
            keep &= self._columns["category"][:size] == self._categories.get(request.category, -1)
        price = self._columns["price"][:size]
        if request.price_min is not None:
            keep &= price >= math.ceil(exact(request.price_min) * PRICE_UNITS)
        if request.price_max is not None:
            keep &= (price != _NO_PRICE) & (price <= math.floor(exact(request.price_max) * PRICE_UNITS))
        if request.in_stock is not None:
            keep &= self._columns["in_stock"][:size] == request.in_stock
        return keep

    def slots_of(self, product_ids: Sequence[str]) -> Slots:
        """Return the slots of products, int32, of their length; -1 for those that were never here."""
        slots = self._ids.rows(product_ids)
        for place in np.flatnonzero(slots < 0).tolist():
            slots[place] = self._later.get(product_ids[place], -1)
        return slots

    def in_stock(self, slots: Slots) -> Mask:
        """Return which of the products in *slots* are in stock; -1 is in none."""
        known: Mask = (slots >= 0) & self._columns["in_stock"][slots] if len(self) else np.zeros(len(slots), np.bool_)
        return known

    def slots_of_all(self, ids: IdMap) -> Slots:
        """As `slots_of`, for all the ids of a map."""
        slots = ids.rows_in(self._ids)
        later = list(self._later)
        rows = ids.rows(later)
        for row, product_id in zip(rows.tolist(), later, strict=True):
            if row >= 0:
                slots[row] = self._later[product_id]
        return slots

    def later_than(self, size: int) -> list[tuple[str, int]]:
        """Return the products, with their slots, that were met once there were *size* slots."""
        return list(itertools.islice(self._later.items(), size - len(self._ids), None))

    def revisions(self, product_ids: Sequence[str]) -> dict[str, int]:
        """Return the revisions (microseconds since 1970) of those products that may be shown."""
        slots = self.slots_of(product_ids)
        shown, revision = self._columns["shown"], self._columns["revision"]
        return {
            product_id: int(revision[slot])
            for product_id, slot in zip(product_ids, slots.tolist(), strict=True)
            if slot >= 0 and shown[slot]
        }

    def _slots_for(self, product_ids: list[str]) -> Slots:
        """The slots of products, made for those that have none."""
        slots = self.slots_of(product_ids)
        for place in np.flatnonzero(slots < 0).tolist():
            slots[place] = self._later.setdefault(product_ids[place], len(self))
        short = len(self) - len(self._columns["shown"])
        if short > 0:
            room = max(short, _ROOM, len(self) // 8)
            self._columns = {
                name: np.concatenate([column, np.zeros(room, column.dtype)]) for name, column in self._columns.items()
            }
        return slots

    def _category_codes(self, categories: Iterable[str | None]) -> list[int]:
        return [self._categories.setdefault(category, len(self._categories)) for category in categories]

    def _take(self, pages: _Pages) -> None:
        self._ids = IdMap(pages.ids())
        self._columns = {name: pages.column(name, dtype) for name, dtype in _COLUMNS}


class _Pages:
    """The pages of a load, as arrays."""

    def __init__(self) -> None:
        self._ids: list[pa.Array] = []
        self._parts: dict[str, list[NDArray[Any]]] = {name: [] for name, _ in _COLUMNS}

    def add(self, page: asyncpg.Record, codes: Callable[[Iterable[str | None]], list[int]]) -> None:
        self._ids.append(pa.array(page["ids"], pa.string()))
        prices = [_NO_PRICE if price is None else price for price in page["prices"]]
        self._parts["category"].append(np.array(codes(page["categories"]), dtype=np.int32))
        self._parts["price"].append(np.array(prices, dtype=np.int64))
        self._parts["in_stock"].append(np.array(page["in_stock"], dtype=np.bool_))
        self._parts["shown"].append(~np.array(page["hidden"], dtype=np.bool_))
        self._parts["revision"].append(np.array(page["revisions"], dtype=np.int64))

    def ids(self) -> pa.Array:
        return pa.concat_arrays(self._ids) if self._ids else pa.array([], pa.string())

    def column(self, name: str, dtype: type[np.generic]) -> NDArray[Any]:
        return np.concatenate([np.zeros(0, dtype), *self._parts[name]])
