"""
Products embedded as they are written, beside the requests of an ingestion replica.

Nothing waits for it, and nothing is lost by it: whoever wrote a product and whatever died since, the change stands in
the feed until the cursor of each encoder has passed it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from artifacts.store import ArtifactStore
from catalogue.encoders import LiveEncoder, LiveEncoders
from catalogue.feed_embedding import FeedEmbedding, start_of
from contracts.background import end
from storage.primary_session import PrimarySession, primary_session

POLL_S = 0.2
LOOK_S = 1.0
RETRY_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many writes of products are not embedded yet (at most 10,001), and for how many seconds the oldest is not."""

    waiting: int
    oldest_s: float


class ProductEmbedder:
    """
    Keeps the stored vectors up to date for every encoder that search may use.

    Of all processes that run one, the one whose session holds a lock does the work; when it dies another takes over.
    A product whose text is that of its vector is left alone, so that a new price costs nothing.

    Args:
        database_url: The primary.
        open_store: Returns the artifact store; may raise an ArtifactError.
        poll_s: Seconds between looks at the feed.
    """

    def __init__(self, database_url: str, open_store: Callable[[], ArtifactStore], *, poll_s: float = POLL_S) -> None:
        self.leading = False
        self._url = database_url
        self._live = LiveEncoders(open_store)
        self._poll_s = poll_s
        self._feeds: dict[str, FeedEmbedding] = {}
        self._backlogs: list[Backlog] = []
        self._problem: str | None = None
        self._written = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="embedding")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once, whatever state the database and the artifacts are in."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="embedding")

    async def stop(self) -> None:
        """End; what is not embedded yet waits in the feed."""
        await end(self._task)
        self._task = None
        self._executor.shutdown(wait=False)

    @property
    def alive(self) -> bool:
        """Whether the task that embeds has not died; true before the start and after the end."""
        return self._task is None or not self._task.done()

    def wake(self) -> None:
        """Look at the feed now: something was written."""
        self._written.set()

    def status(self) -> dict[str, Any]:
        """Say for which encoders products are embedded, how far behind that is, and what keeps it from working."""
        return {
            "leading": self.leading,
            "encoders": [live.version for live in self._live.encoders],
            "waiting": max((backlog.waiting for backlog in self._backlogs), default=None),
            "lag_s": max((round(backlog.oldest_s, 3) for backlog in self._backlogs), default=None),
            "problem": self._problem or self._live.problem,
        }

    async def _run(self) -> None:
        while True:
            try:
                async with primary_session(self._url, application="shortlist-embedding") as session:
                    await self._work(session)
            except Exception as error:  # noqa: BLE001 - one that dies would leave products unfound without a word
                if self._problem is None:
                    log.warning("embedding waits: %r", error)
                self._problem = str(error) or type(error).__name__
            finally:
                self.leading = False
                self._feeds.clear()
            await asyncio.sleep(RETRY_S)

    async def _work(self, session: PrimarySession) -> None:
        """Embed, or wait to be the one that does; only an error ends it."""
        looked_at = float("-inf")
        while True:
            self._written.clear()
            if time.monotonic() - looked_at >= LOOK_S:
                await self._look(session)
                looked_at = time.monotonic()
            steps = [await feed.step() for feed in self._feeds.values()]
            if not any(steps):
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_s):
                        await self._written.wait()

    async def _look(self, session: PrimarySession) -> None:
        """See who embeds, for which encoders, and how far behind they are."""
        await session.look_for_another()
        if not self.leading:
            self.leading = (await session.fetch("lead_embedding")).records[0]["leading"]
        look = partial(self._live.look, load=self.leading)
        await asyncio.get_running_loop().run_in_executor(self._executor, look)
        if self.leading:
            await self._follow(session, self._live.encoders)
        backlogs = [await self._backlog(session, live.version) for live in self._live.encoders]
        self._backlogs = [backlog for backlog in backlogs if backlog is not None]
        self._problem = None

    async def _follow(self, session: PrimarySession, encoders: tuple[LiveEncoder, ...]) -> None:
        """Have one feed for each of *encoders*."""
        self._feeds = {live.version: self._feeds[live.version] for live in encoders if live.version in self._feeds}
        for live in encoders:
            if live.version not in self._feeds and live.encoder is not None:
                start = await start_of(session, live.version, live.start)
                self._feeds[live.version] = FeedEmbedding(
                    session, live.version, live.encoder, executor=self._executor, start=start
                )

    async def _backlog(self, session: PrimarySession, version: str) -> Backlog | None:
        feed = self._feeds.get(version)
        if feed is not None and feed.caught_up:
            return Backlog(0, 0.0)
        rows = (await session.fetch("embedding_backlog", version)).records
        return Backlog(rows[0]["waiting"], rows[0]["oldest_s"]) if rows else None
