"""The catalogue as a replica holds it in memory, kept up to date by the change feed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from artifacts.active import Loaded
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from artifacts.held import Held
from artifacts.id_map import IdMap
from contracts.background import end
from contracts.consistency import ConsistencyToken
from contracts.requests import ReadRequest
from contracts.stages import Cause
from retrieval.columns import AttributeColumns, Mask, Slots
from retrieval.live_embeddings import EmbeddingsView, LiveEmbeddings
from retrieval.stage_run import cause_of
from storage.change_feed import ChangeFeed, FeedPage
from storage.database import Database
from storage.errors import DatabaseUnavailable, QueryTimeout, StorageError, TimelineChanged
from storage.feed_position import FeedPosition

_MASKS_KEPT = 8
# The active factor model, the one before and one on trial.
_MODELS_KEPT = 3
_READ_S = 10.0
_FULL = "more changes are ahead of an open transaction than are remembered; the rest waits for its end"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
    """
    What a request may look at: one moment of the catalogue.

    Attributes:
        loaded: The embedding index; None where there is none.
        embeddings: Its vectors as they were at that moment; None likewise.
        keep: Which column slots may be shown and pass the request's filters; None where the columns are not loaded.
        position: The change up to which this is the catalogue, put so that it equals what a database read of the same
            catalogue has seen; anything else while that cannot be said.
        columns: Where to find the products' slots.
    """

    loaded: Loaded[EmbeddingIndex] | None = None
    embeddings: EmbeddingsView | None = None
    keep: Mask | None = None
    position: str = "unread"
    columns: AttributeColumns | None = None
    item_slots: Slots | None = None

    def items_kept(self) -> Mask | None:
        """Which items of the factor model the request may get, shape (items,); None where that cannot be told."""
        if self.keep is None or self.item_slots is None:
            return None
        kept: Mask = np.append(self.keep, False)[self.item_slots]
        return kept

    def revisions(self, product_ids: Sequence[str]) -> dict[str, int]:
        """The revisions of those products that the columns know."""
        return {} if self.columns is None else self.columns.revisions(product_ids)


class LiveCatalogue:
    """
    The attribute columns and the live embeddings of one replica.

    A task pulls the change feed. When another version of the index becomes active, its live embeddings are made beside
    those in use, from the feed's position at which it was trained, and take over once they have caught up. With the
    database down the trained index is searched as it is; the rest is read when the database is back.

    Args:
        database: Where the feed is read.
        embeddings: The active index; None for columns alone.
        period_s: Seconds between two pulls.
    """

    def __init__(self, database: Database, embeddings: Held[EmbeddingIndex] | None, *, period_s: float = 0.5) -> None:
        self._database = database
        self._embeddings = embeddings
        self._period_s = period_s
        self._held: _Held | None = None
        self._bare: _Held | None = None
        self._preparing: asyncio.Task[_Held] | None = None
        self._start_over = False
        self._task: asyncio.Task[None] | None = None
        self._first_round = asyncio.Event()
        self._problem: str | None = None

    async def start(self, *, wait_s: float = 0.0) -> None:
        """Begin to pull; wait at most *wait_s* for everything to be there, or for the database to turn out down."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="change-feed")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._first_round.wait()

    async def stop(self) -> None:
        """End pulling; what is held stays."""
        await end(self._task, self._preparing)
        self._task = self._preparing = None

    def cancel(self) -> None:
        """End pulling, from where nothing can be awaited."""
        for task in (self._task, self._preparing):
            if task is not None and not task.get_loop().is_closed():
                task.get_loop().call_soon_threadsafe(task.cancel)

    @property
    def loaded(self) -> Loaded[EmbeddingIndex] | None:
        """The index version in use."""
        return self._current().loaded

    def look(self, request: ReadRequest, factors: Factors | None = None) -> Look:
        """Return what *request* may look at now, of the items of *factors* too; from any thread, in milliseconds."""
        return self._current().look(request, factors)

    async def reach(self, token: str, *, timeout_s: float) -> None:
        """
        Return once everything that the consistency token covers is applied; concurrent callers share a pull.

        Raises:
            DatabaseUnavailable: that could not be read (in time), or not all of it can be applied yet.
        """
        if self._held is None:
            raise DatabaseUnavailable("any", "the changes of products have not been read yet")
        try:
            async with asyncio.timeout(timeout_s):
                held = None
                while held is not self._held:
                    held = self._held
                    await held.reach(ConsistencyToken.parse(token))
        except TimeoutError as error:
            raise QueryTimeout("any", f"the changes of products were not read within {timeout_s:g} s") from error
        except TimelineChanged as error:
            raise DatabaseUnavailable("any", str(error)) from error

    @property
    def alive(self) -> bool:
        """Whether the task that pulls has not died; true before the start and after the end."""
        return self._task is None or not self._task.done()

    def status(self) -> dict[str, Any]:
        """Return how far the feed is read, how long ago, and what is held."""
        held = self._held
        return {
            "position": None if held is None else held.position,
            "age_s": None if held is None else round(time.monotonic() - held.read_at, 3),
            "columns_loaded": held is not None,
            "products": 0 if held is None else held.columns_products(),
            "live_vectors": 0 if held is None else held.live_count(),
            "tombstones": 0 if held is None else held.tombstones(),
            "preparing": self._preparing is not None,
            "problem": self._problem or (None if held is None else held.problem),
        }

    async def _run(self) -> None:
        while True:
            try:
                await self._round()
                self._note(None)
            except Exception as error:  # noqa: BLE001  a feed that dies would freeze the catalogue without a word
                self._note(error)
            self._first_round.set()
            await asyncio.sleep(self._period_s)

    async def _round(self) -> None:
        """Take over what has been made beside, begin to make what is missing, pull for what is in use."""
        try:
            await self._take_over()
            if self._preparing is None and self._is_outdated():
                self._preparing = asyncio.create_task(self._prepared(), name="change-feed-catching-up")
        finally:
            await self._follow()

    async def _follow(self) -> None:
        """Pull for what is in use; where there is nothing yet, wait for it."""
        if self._held is not None and not self._start_over:
            try:
                await self._held.pull()
            except TimelineChanged:
                self._start_over = True
                self._held.feed.caught_up = False
                raise
        elif self._held is None and self._preparing is not None:
            await asyncio.wait([self._preparing])
            await self._take_over()

    async def _take_over(self) -> None:
        """Use what has been made, once it has all that is in use now, or raise what went wrong."""
        if self._preparing is None or not self._preparing.done():
            return
        failed = self._preparing.cancelled() or self._preparing.exception() is not None
        if failed or self._held is None or self._start_over:
            self._use(self._preparing)
        else:
            async with self._held.still_for(self._preparing.result()):
                self._use(self._preparing)

    def _use(self, preparing: asyncio.Task[_Held]) -> None:
        self._preparing = None
        self._held, self._bare, self._start_over = preparing.result(), None, False

    def _is_outdated(self) -> bool:
        wanted = self._embeddings.current if self._embeddings else None
        return self._held is None or self._start_over or self._held.loaded is not wanted

    async def _prepared(self) -> _Held:
        wanted = self._embeddings.current if self._embeddings else None
        return await _Held.prepared(self._database, wanted, None if self._start_over else self._held)

    def _current(self) -> _Held:
        """What is held; until it is, the trained index as it is."""
        if self._held is not None:
            return self._held
        loaded = self._embeddings.current if self._embeddings else None
        bare = self._bare
        if bare is None or bare.loaded is not loaded:
            bare = self._bare = _Held(self._database, loaded, None, FeedPosition())
        return bare

    def _note(self, error: Exception | None) -> None:
        """Say what keeps the feed from being read, once, and once that it is read again."""
        if error is not None and self._problem is None:
            expected = isinstance(error, StorageError)
            log.warning("the changes of products cannot be read: %s", error, exc_info=None if expected else error)
        if error is None and self._problem is not None:
            log.info("the changes of products are read again")
        self._problem = None if error is None else str(error) or type(error).__name__


class _Held:
    """One index version with its columns, its live embeddings and its place in the feed, always of one moment."""

    def __init__(
        self,
        database: Database,
        loaded: Loaded[EmbeddingIndex] | None,
        columns: AttributeColumns | None,
        start: FeedPosition,
    ) -> None:
        self.loaded = loaded
        self.read_at = time.monotonic()
        self.problem: str | None = None
        self.columns = columns
        self.feed = ChangeFeed(database, "changed_products", _encoder(loaded), start=start)
        self._position = str(start)
        self._live = None if loaded is None else LiveEmbeddings(loaded.value, columns)
        self._lock = threading.Lock()
        self._pulling = asyncio.Lock()
        self._wanted: ConsistencyToken | None = None
        self._reached: ConsistencyToken | None = None
        self._masks: OrderedDict[tuple[object, ...], Mask] = OrderedDict()
        self._item_slots: OrderedDict[int, tuple[Factors, int, Slots]] = OrderedDict()
        self._view = None if self._live is None else self._live.view()
        self._mark = secrets.token_hex(3)

    @classmethod
    async def prepared(cls, database: Database, loaded: Loaded[EmbeddingIndex] | None, before: _Held | None) -> _Held:
        """Return what holds *loaded*, caught up; columns that are held already need not be read again."""
        if before is not None and before.columns is not None:
            start, columns = before.snapshot()
        else:
            columns, start = await AttributeColumns.load(database)
        if loaded is not None:
            trained_at = FeedPosition.parse(str(loaded.manifest.parameters.get("changes_position", "0-0")))
            start = min(start, trained_at, key=lambda position: position.cursor)
        held = await asyncio.to_thread(cls, database, loaded, columns, start)
        if before is not None:
            held.feed.follow(before.feed)
        await held.pull()
        return held

    @property
    def position(self) -> str:
        """The feed's position; marked as nobody else's while there are changes that the next page will bring."""
        return self._position + ("" if self.feed.caught_up else f"~{self._mark}")

    def columns_products(self) -> int:
        return 0 if self.columns is None else self.columns.products

    def live_count(self) -> int:
        return 0 if self._live is None else self._live.live

    def tombstones(self) -> int:
        return 0 if self._live is None else self._live.tombstones

    def snapshot(self) -> tuple[FeedPosition, AttributeColumns]:
        """The place up to which the columns are complete, and a copy of them."""
        assert self.columns is not None
        with self._lock:
            return FeedPosition(self.feed.position.cursor), self.columns.copy()

    def look(self, request: ReadRequest, factors: Factors | None) -> Look:
        if self.columns is None:
            return Look(self.loaded, self._view)
        with self._lock:
            slots = None if factors is None else self._slots_of_items(factors)
            return Look(self.loaded, self._view, self._passing(request), self.position, self.columns, slots)

    async def pull(self) -> None:
        """Apply everything there is to read."""
        async with self._pulling:
            await self._pull(None)

    async def reach(self, token: ConsistencyToken) -> None:
        """Apply everything that *token* covers, together with those who wait already."""
        self._wanted = _later(self._wanted, token)
        async with self._pulling:
            if not _covers(self._reached, token):
                wanted, self._wanted = _later(self._wanted, token), None
                page = await self._pull(wanted)
                if not page.whole:
                    raise DatabaseUnavailable("any", self.problem or "a server that is behind answered")
                if _covers(self.shown, wanted):
                    self._reached = wanted

    @asynccontextmanager
    async def still_for(self, made: _Held) -> AsyncIterator[None]:
        """Stand still while *made*, which is to take this one's place, comes to have everything that this one has."""
        await made.pull()
        async with self._pulling:
            if self.shown is None:
                await made.pull()
            else:
                await made.reach(self.shown)
            yield

    @property
    def shown(self) -> ConsistencyToken | None:
        """The place in the log that was seen last; None where the timeline is not known."""
        return None if self.feed.timeline is None else ConsistencyToken(self.feed.timeline, self.feed.seen.read_to)

    async def _pull(self, after: ConsistencyToken | None) -> FeedPage:
        more = True
        while more:
            page = await self.feed.read(timeout_s=_READ_S, after=None if after is None else str(after))
            applying = asyncio.ensure_future(asyncio.to_thread(self._apply, page))
            try:
                await asyncio.shield(applying)
            except asyncio.CancelledError:
                await applying
                raise
            more = page.more
        self.read_at = time.monotonic()
        self.problem = _FULL if not page.whole and self.feed.position.full else None
        return page

    def _apply(self, page: FeedPage) -> None:
        with self._lock:
            if page.changes and self.columns is not None:
                self.columns.apply(page.changes)
                self._masks.clear()
            if page.changes and self._live is not None:
                self._live.apply(page.changes)
                self._view = self._live.view()
            self.feed.acknowledge(page)
            self._position = str(page.position)
            if not page.caught_up:
                self._mark = secrets.token_hex(3)

    def _passing(self, request: ReadRequest) -> Mask:
        """The slots that pass; of the filters asked for last the masks are kept until the next change."""
        assert self.columns is not None
        filters = (request.category, request.price_min, request.price_max, request.in_stock)
        mask = self._masks.get(filters)
        if mask is None:
            mask = self._masks[filters] = self.columns.passing(request)
            if len(self._masks) > _MASKS_KEPT:
                self._masks.popitem(last=False)
        self._masks.move_to_end(filters)
        return mask

    def _slots_of_items(self, factors: Factors) -> Slots:
        """The slots of the model's items; once the columns have met more products, theirs too."""
        assert self.columns is not None
        known, size = self._item_slots.get(id(factors)), len(self.columns)
        if known is None or known[0] is not factors:
            known = (factors, size, self.columns.slots_of_all(IdMap(factors.item_ids)))
        elif known[1] != size:
            slots = known[2].copy()
            for product_id, slot in self.columns.later_than(known[1]):
                row = factors.item_row(product_id)
                if row is not None:
                    slots[row] = slot
            known = (factors, size, slots)
        self._item_slots[id(factors)] = known
        self._item_slots.move_to_end(id(factors))
        if len(self._item_slots) > _MODELS_KEPT:
            self._item_slots.popitem(last=False)
        return known[2]


async def token_missed(catalogue: LiveCatalogue, request: ReadRequest, *, timeout_s: float) -> Cause | None:
    """Apply what the request's consistency token covers; return why that could not be done, if it could not."""
    if request.consistency_token is None:
        return None
    try:
        await catalogue.reach(request.consistency_token, timeout_s=timeout_s)
    except DatabaseUnavailable as error:
        return cause_of(error)
    return None


def _encoder(loaded: Loaded[EmbeddingIndex] | None) -> str:
    """The version of the encoder whose vectors belong to the index."""
    return (loaded.manifest.encoder if loaded else None) or ""


def _later(one: ConsistencyToken | None, other: ConsistencyToken) -> ConsistencyToken:
    return other if one is None else max(one, other, key=lambda token: (token.timeline, token.position))


def _covers(reached: ConsistencyToken | None, token: ConsistencyToken) -> bool:
    return reached is not None and reached.timeline == token.timeline and reached.position >= token.position
