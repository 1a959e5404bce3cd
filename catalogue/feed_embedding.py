"""One encoder's way through the change feed: products written in, their vectors out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import asyncpg
import numpy as np
from numpy.typing import NDArray

from artifacts.encoder import OnnxEncoder
from artifacts.product_text import product_text, text_digest
from storage.change_feed import ChangeFeed
from storage.feed_position import FeedPosition, Key
from storage.primary_session import PrimarySession

Result = TypeVar("Result")

PAGE = 64
CHUNK = 16
_TEXT_COLUMNS = ("product_id", "title", "description", "category", "brand", "attributes")


@dataclass(frozen=True, slots=True)
class _Unembedded:
    """A product whose vector is not that of its text."""

    row: asyncpg.Record
    text: str
    digest: bytes


class FeedEmbedding:
    """
    Embeds what the feed says was written, oldest first, for one encoder.

    While much waits (an import), the newest changes are looked at in between, so that a product written now is found
    now. What is looked at twice has the digest of its text by then and is left alone.

    Args:
        session: The primary; the session must be the one that embeds.
        version: What the encoder's vectors are stored under.
        encoder: Texts to vectors.
        executor: Where CPU work is done.
        start: Where to begin.
    """

    def __init__(
        self,
        session: PrimarySession,
        version: str,
        encoder: OnnxEncoder,
        *,
        executor: Executor,
        start: FeedPosition,
    ) -> None:
        self.embedded = 0
        self._session = session
        self._version = version
        self._encoder = encoder
        self._executor = executor
        self._feed = self._feed_from(start)
        self._newest: ChangeFeed | None = None
        self._kept: Key | None = None

    @property
    def caught_up(self) -> bool:
        """Whether every change seen last is embedded."""
        return self._feed.caught_up

    async def step(self) -> bool:
        """
        Embed some of what comes next; return whether there is more.

        Raises:
            asyncpg.PostgresError, OSError, TimeoutError: the session is over; what was embedded stays.
        """
        more, encoded = await self._embed_page(self._feed)
        await self._keep_cursor()
        if more and (encoded or self._newest):
            await self._embed_newest()
        else:
            self._newest = None
        return more

    def _feed_from(self, start: FeedPosition) -> ChangeFeed:
        return ChangeFeed(self._session, "changes_to_embed", self._version, start=start, page=PAGE)

    async def _embed_newest(self) -> None:
        if self._newest is None:
            rows = await self._session.fetch("feed_before_newest", PAGE // 2)
            self._newest = self._feed_from(FeedPosition.parse(rows.records[0]["position"]))
        more, _ = await self._embed_page(self._newest)
        if more:
            self._newest = None

    async def _embed_page(self, feed: ChangeFeed) -> tuple[bool, int]:
        """Embed the products of the next page; return whether there is more, and how many texts were encoded."""
        page = await feed.read()
        rows = {row["product_id"]: row for row in page.changes if row["title"] is not None}
        todo = await self._in_thread(partial(_unembedded, list(rows.values())))
        for start in range(0, len(todo), CHUNK):
            chunk = todo[start : start + CHUNK]
            vectors = await self._in_thread(partial(self._encoder.encode_what_can_be, [one.text for one in chunk]))
            await self._write(chunk, vectors)
        feed.acknowledge(page)
        return page.more, len(todo)

    async def _write(self, products: Sequence[_Unembedded], vectors: NDArray[np.float32]) -> None:
        kept = [(one, vector) for one, vector in zip(products, vectors, strict=True) if np.isfinite(vector).all()]
        columns = [[one.row[column] for one, _ in kept] for column in _TEXT_COLUMNS]
        content = [vector.astype("<f4").tobytes() for _, vector in kept]
        digests = [one.digest for one, _ in kept]
        written = await self._session.fetch("write_embeddings", self._version, *columns, content, digests)
        self.embedded += len(written.records)

    async def _keep_cursor(self) -> None:
        cursor = self._feed.position.cursor
        if cursor != self._kept:
            await self._session.fetch("move_embedding_cursor", self._version, str(cursor[0]), cursor[1])
            self._kept = cursor

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


async def start_of(session: PrimarySession, version: str, artifact_position: str | None) -> FeedPosition:
    """Return where embedding for encoder *version* goes on: after its cursor, else where its artifact was made."""
    try:
        given = None if artifact_position is None else str(FeedPosition.parse(artifact_position))
    except ValueError:
        given = None
    rows = await session.fetch("embedding_start", version, given)
    return FeedPosition.parse(rows.records[0]["start"])


def _unembedded(rows: Sequence[asyncpg.Record]) -> list[_Unembedded]:
    found = []
    for row in rows:
        text = product_text(
            row["title"],
            description=row["description"],
            category=row["category"],
            brand=row["brand"],
            attributes=json.loads(row["attributes"]),
        )
        digest = text_digest(text)
        if digest != row["text_digest"]:
            found.append(_Unembedded(row, text, digest))
    return found
