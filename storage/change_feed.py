"""The feed of product changes, as one reader goes through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import asyncpg

from storage.database import Rows
from storage.errors import TimelineChanged
from storage.feed_position import FeedPosition, Key

PAGE = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """
    How much a snapshot shows, in figures of which none ever goes back on one server.

    Attributes:
        open_from: The oldest transaction that may still be open.
        seen_to: The first transaction that the snapshot could not show.
        read_to: How far its server had come in the write-ahead log, in bytes.
    """

    open_from: int = 0
    seen_to: int = 0
    read_to: int = 0

    def is_behind(self, other: Seen) -> bool:
        """Whether *other* shows something that this does not."""
        return self.open_from < other.open_from or self.seen_to < other.seen_to or self.read_to < other.read_to


@dataclass(frozen=True, slots=True)
class FeedPage:
    """
    Some changes, and where the reader stands once they are applied.

    Attributes:
        changes: Rows of the feed's query, in the order of the feed; the same product may come more than once.
        position: The position after them.
        timeline: The primary's timeline, where it is known.
        seen: What the snapshot could show.
        more: Whether to read again at once.
        caught_up: Whether, these applied, nothing that the snapshot showed is missing.
        whole: Whether nothing was held back: False where more is ahead of an open transaction than can be remembered,
            and where the database that answered shows less than was seen of another before everything was read there.
    """

    changes: list[asyncpg.Record]
    position: FeedPosition
    timeline: int | None
    seen: Seen
    more: bool
    caught_up: bool
    whole: bool


class FeedSource(Protocol):
    """Where a feed is read: a `Database`, or one connection."""

    async def fetch(
        self, query_name: str, *args: object, timeout_s: float | None = None, after: str | None = None
    ) -> Rows:
        """As `Database.fetch`."""


class ChangeFeed:
    """
    Reads product changes page by page, each with its product as it is now, and misses none.

    Read a page, apply it, acknowledge it; what is not acknowledged comes again, so what is applied twice must do no
    harm. Changes committed while an older transaction is open are given at once and not held up by it. A snapshot
    that lags behind an earlier one (another read replica's) gives nothing new and takes nothing back.

    Args:
        database: Where to read.
        query_name: A query that takes the parameters of ``changed_products`` up to the number of changes, then *args*,
            and returns its columns open_from, seen_to, read_to, timeline, transaction and position, and the product's
            state.
        args: Further parameters of the query.
        start: The position to begin after.
        page: Most changes a page.
    """

    def __init__(
        self,
        database: FeedSource,
        query_name: str,
        *args: object,
        start: FeedPosition | None = None,
        page: int = PAGE,
    ) -> None:
        self.position = start or FeedPosition()
        self.caught_up = False
        self.timeline: int | None = None
        self.seen = Seen()
        self._database = database
        self._query_name = query_name
        self._args = args
        self._page = page

    async def read(self, *, after: str | None = None, timeout_s: float | None = None) -> FeedPage:
        """
        Return the changes that come next; the position stays until they are acknowledged.

        Args:
            after: A consistency token: only a database that has come so far may answer.
            timeout_s: Most seconds to wait.

        Raises:
            TimelineChanged: another primary writes now, which may have given a position out again: start over.
            DatabaseUnavailable: no database answers (in time).
        """
        place = self.position
        number = self._page + (place.cut is not None)
        rows = await self._database.fetch(
            self._query_name,
            str(place.first[0]),
            place.first[1],
            list(map(str, place.done)),
            number,
            *self._args,
            timeout_s=timeout_s,
            after=after,
        )
        head = rows.records[0]
        seen = Seen(head["open_from"], head["seen_to"], head["read_to"])
        if self._has_yet_to_follow(head["timeline"]) or seen.is_behind(self.seen):
            return self._nothing_new()
        changes = [row for row in rows.records if row["transaction"] is not None]
        more = len(changes) == number
        if place.cut is not None:
            if not changes or _key(changes[0]) != place.cut:
                # The transaction that was cut is not to be seen here: it is read again from its beginning.
                place = place.without_cut()
                return FeedPage([], place, head["timeline"], seen, more=True, caught_up=False, whole=True)
            changes = changes[1:]
        taken = _rememberable(changes, place, seen.open_from)
        whole = len(taken) == len(changes)
        return FeedPage(
            taken,
            place.after(map(_key, taken), open_from=seen.open_from, more=more and whole),
            head["timeline"],
            seen,
            more=whole and (more or place.cut is not None),
            caught_up=whole and not more and place.cut is None,
            whole=whole,
        )

    def follow(self, other: ChangeFeed) -> None:
        """Take nothing from a snapshot that shows less than *other*, a reader of the same database, has seen."""
        self.seen, self.timeline = other.seen, other.timeline

    def acknowledge(self, page: FeedPage) -> None:
        """Take note that *page*, read last, is applied."""
        self.position, self.caught_up = page.position, page.caught_up
        self.seen = page.seen
        if page.timeline is not None:
            self.timeline = page.timeline

    def _nothing_new(self) -> FeedPage:
        caught_up = self.caught_up
        return FeedPage([], self.position, self.timeline, self.seen, more=False, caught_up=caught_up, whole=caught_up)

    def _has_yet_to_follow(self, timeline: int | None) -> bool:
        """Whether a database on *timeline* has yet to follow the promotion that this reader has seen."""
        if timeline is None or self.timeline is None or timeline == self.timeline:
            return False
        if timeline > self.timeline:
            raise TimelineChanged(self.timeline, timeline)
        return True


def _key(row: asyncpg.Record) -> Key:
    return row["transaction"], row["position"]


def _rememberable(changes: list[asyncpg.Record], place: FeedPosition, open_from: int) -> list[asyncpg.Record]:
    """Those of *changes* that can be applied now: all, unless too many are ahead of an open transaction already."""
    if not place.full:
        return changes
    passed = 0 if place.cut else open_from
    return [row for row in changes if row["transaction"] < passed or row["transaction"] in place.ahead]
