"""The catalogue epoch: which changes, vocabulary and popularity a read sees, and so what a cached answer belongs to."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import datetime

from contracts.background import end
from contracts.versions import Versions
from storage.database import Database, ReadSource
from storage.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

PERIOD_S = 0.5
POLL_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Epoch:
    """
    What a read sees of the catalogue. It stands still while the catalogue does.

    Attributes:
        changes: Position of the last change that is visible.
        vocabulary: Version of the text search.
        popularity: Version of the popularity in force; None before the first.
        window_end: End of its data window, from which ages count.
    """

    changes: str
    vocabulary: str
    popularity: str | None
    window_end: datetime | None

    def versions(
        self, *, index: str | None, cf: str | None, weights: str | None, config: str | None = None
    ) -> Versions:
        """The versions of an answer made in this epoch with these artifacts and settings."""
        return Versions(
            index=index,
            changes=self.changes,
            vocabulary=self.vocabulary,
            popularity=self.popularity,
            cf=cf,
            weights=weights,
            config=config,
        )


async def read_epoch(
    database: Database, *, after: str | None = None, timeout_s: float | None = None
) -> tuple[Epoch, ReadSource]:
    """
    Return the epoch as the database that answers sees it, and who that is. Later reads there see that much at least.

    Raises:
        DatabaseUnavailable: no database (that has reached *after*) answers.
    """
    rows = await database.fetch("catalogue_position", timeout_s=timeout_s, after=after)
    row = rows.records[0]
    epoch = Epoch(
        changes=str(row["seen"]),
        vocabulary=str(row["text_search_version"]),
        popularity=row["popularity_version"],
        window_end=row["window_end"],
    )
    return epoch, rows.source


class EpochWatcher:
    """
    Knows the epoch without asking: reads it twice a second in the background.

    While no database answers the last known epoch stays. Nothing is raised.

    Args:
        database: Where it is read.
        period_s: Seconds from one reading to the next.
    """

    def __init__(self, database: Database, *, period_s: float = PERIOD_S) -> None:
        self.current: Epoch | None = None
        self._database = database
        self._period_s = period_s
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Read the epoch once, then go on in the background."""
        if self._watching is None:
            await self.read()
            self._watching = asyncio.create_task(self._watch(), name="epoch-watcher")

    async def stop(self) -> None:
        """Stop reading."""
        await end(self._watching)
        self._watching = None

    @property
    def alive(self) -> bool:
        """Whether the task that reads has not died; true before the start and after the end."""
        return self._watching is None or not self._watching.done()

    async def read(self) -> None:
        """Read the epoch now."""
        try:
            self.current, _ = await read_epoch(self._database, timeout_s=POLL_TIMEOUT_S)
        except DatabaseUnavailable:
            log.debug("the epoch could not be read", exc_info=True)
        except Exception:  # a watcher that dies would hold every cache at one epoch without a word
            log.exception("reading the epoch failed")

    def versions(
        self, *, index: str | None, cf: str | None, weights: str | None, config: str | None = None
    ) -> Versions | None:
        """The versions of an answer made now with these artifacts and settings; None while no epoch is known."""
        if self.current is None:
            return None
        return self.current.versions(index=index, cf=cf, weights=weights, config=config)

    async def _watch(self) -> None:
        while True:
            started = time.monotonic()
            await self.read()
            await asyncio.sleep(max(0.05, self._period_s - (time.monotonic() - started)))
