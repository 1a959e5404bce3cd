"""The stored vectors of a catalogue, from Postgres to a file that is mapped into memory."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from storage.errors import DatabaseUnavailable
from storage.settings import StorageSettings
from training.connection import connect, primary
from training.errors import NothingToTrainOn
from training.queries import QUERIES

_PAGE, _LIGHT_PAGE = 10_000, 50_000
_REACH_WITHIN_S, _ASK_EVERY_S = 30.0, 0.1
_UNIT_LENGTH_WITHIN = 1e-2


@dataclass(frozen=True)
class StoredVectors:
    """
    Every sound vector of an encoder.

    Attributes:
        product_ids: String array of length n, by id.
        vectors: float32, shape (n, dim), mapped from a file that is gone when this is.
        digest: As `stored_digest` gives it.
        refused: Vectors left out: of another dimension, not finite, or not of unit length.
    """

    product_ids: pa.ChunkedArray
    vectors: NDArray[np.float32]
    digest: str
    refused: int


@dataclass(frozen=True)
class StoredDigest:
    """How many products have a vector, and what says of their ids and texts together whether they are the same."""

    count: int
    digest: str


class _Digest:
    """Says of products and the texts of their vectors whether they are the same, whatever pages they came in."""

    def __init__(self) -> None:
        self.count = 0
        self._sum = hashlib.sha256()

    def add(self, rows: Iterable[asyncpg.Record]) -> None:
        lines = [f"{row['product_id']}\0{(row['text_digest'] or b'').hex()}\n" for row in rows]
        self.count += len(lines)
        self._sum.update("".join(lines).encode())

    def __str__(self) -> str:
        return self._sum.hexdigest()


async def log_position(database_url: str) -> str:
    """Return how far the primary's log reaches now."""
    async with primary(database_url) as connection:
        return str(await connection.fetchval(QUERIES["written_up_to"]))


async def stored_digest(settings: StorageSettings, encoder_version: str, *, after: str) -> StoredDigest:
    """Return what the stored vectors of the encoder are made from."""
    digest = _Digest()
    async with reading_past(settings, after) as connection:
        async for rows in _pages(connection, "embedded_page", encoder_version, _LIGHT_PAGE):
            digest.add(rows)
    return StoredDigest(digest.count, str(digest))


async def stored_vectors(settings: StorageSettings, encoder_version: str, dim: int, *, after: str) -> StoredVectors:
    """
    Return every vector of the encoder.

    Args:
        settings: Where to read.
        encoder_version: Whose.
        dim: Their dimension.
        after: A place in the primary's log; a replica that has not reached it is not read from.

    Raises:
        NothingToTrainOn: there are none.
        OSError: the temporary directory has no room.
    """
    digest, ids, kept = _Digest(), [], 0
    with tempfile.TemporaryFile() as file:
        async with reading_past(settings, after) as connection:
            async for rows in _pages(connection, "embeddings_page", encoder_version, _PAGE):
                digest.add(rows)
                sound, vectors = _sound([bytes(row["embedding"]) for row in rows], dim)
                file.write(vectors.tobytes())
                ids.append(pa.array([row["product_id"] for row, fine in zip(rows, sound, strict=True) if fine]))
                kept += len(vectors)
        file.flush()
        if not kept:
            raise NothingToTrainOn(f"No product has a vector of {encoder_version}. Look at what was said above.")
        mapped: NDArray[np.float32] = np.memmap(file, dtype=np.float32, mode="r", shape=(kept, dim))
    return StoredVectors(pa.chunked_array(ids, pa.string()), mapped, str(digest), digest.count - kept)


@asynccontextmanager
async def reading_past(settings: StorageSettings, position: str) -> AsyncIterator[asyncpg.Connection]:
    """
    A connection to the first replica that shows what was written up to *position*; to the primary where none is named.

    Raises:
        DatabaseUnavailable: none of them does in time.
    """
    if settings.replica_urls:
        connection = await _caught_up(settings.replica_urls, position)
    else:
        connection = await connect(settings.database_url, "primary")
    try:
        yield connection
    finally:
        await connection.close()


async def _caught_up(urls: tuple[str, ...], position: str) -> asyncpg.Connection:
    end = time.monotonic() + _REACH_WITHIN_S
    for number, url in enumerate(urls, start=1):
        try:
            connection = await connect(url, f"replica-{number}")
        except DatabaseUnavailable:
            continue
        while not await connection.fetchval(QUERIES["has_reached"], position):
            if time.monotonic() > end:
                await connection.close()
                break
            await asyncio.sleep(_ASK_EVERY_S)
        else:
            return connection
    raise DatabaseUnavailable(
        "replica-1",
        f"no read replica shows within {_REACH_WITHIN_S:g} s what was written to the primary. What was encoded is "
        "kept: run the job again when one has caught up",
    )


async def _pages(
    connection: asyncpg.Connection, query: str, encoder_version: str, size: int
) -> AsyncIterator[list[asyncpg.Record]]:
    """All rows of the encoder, by pages: each sees what is committed by then, so that no snapshot is held for long."""
    after = ""
    while rows := await connection.fetch(QUERIES[query], encoder_version, after, size):
        yield rows
        after = rows[-1]["product_id"]


def _sound(contents: list[bytes], dim: int) -> tuple[list[bool], NDArray[np.float32]]:
    """Which of the vectors are sound, and those as float32, shape (k, dim)."""
    whole = [len(content) == 4 * dim for content in contents]
    joined = b"".join(content for content, fine in zip(contents, whole, strict=True) if fine)
    vectors = np.frombuffer(joined, dtype="<f4").reshape(-1, dim).astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        fine = np.abs(np.linalg.norm(vectors, axis=1) - 1) <= _UNIT_LENGTH_WITHIN
    sound = np.zeros(len(contents), dtype=np.bool_)
    sound[np.flatnonzero(whole)] = fine
    return sound.tolist(), vectors[fine]
