"""One pass over the catalogue on Ray Data: what has no vector of its text and encoder yet gets one."""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import ray
import ray.data
from numpy.typing import NDArray
from ray.data import ActorPoolStrategy
from ray.exceptions import RayError

from artifacts.encoder import OnnxEncoder
from storage.errors import DatabaseUnavailable
from storage.settings import StorageSettings
from training.embedding_rows import write_embeddings
from training.embedding_texts import IdRange, ProductText, read_products
from training.embedding_vectors import log_position, reading_past
from training.errors import RunFailed
from training.progress import say
from training.reading import reading

WRITTEN_AT_ONCE = 256
_TRIES, _RETRY_S = 5, 2.0
_SAY_EVERY_S = 5.0
_PASSES = 3
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PassPlan:
    """
    How to go through the catalogue.

    Args:
        settings: Read from replicas, written to the primary.
        encoder_version: What vectors are stored under.
        workers: Actors that encode side by side; each takes *threads* CPUs.
    """

    settings: StorageSettings
    encoder_version: str
    workers: int
    threads: int


@dataclass
class PassCounts:
    """
    What a pass did.

    Attributes:
        looked_at: Products whose text was compared with that of their vector.
        encoded: Those that were encoded and stored.
        unreadable: Texts that the encoder cannot take; they have no vector.
        behind: Ranges with products that were changed while they were encoded, or are newer than the replica says.
    """

    looked_at: int = 0
    encoded: int = 0
    unreadable: int = 0
    behind: list[IdRange] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take over what an actor says of one range."""
        self.looked_at += int(row["looked_at"])
        self.encoded += int(row["encoded"])
        self.unreadable += int(row["unreadable"])
        if row["left_out"]:
            self.behind.append(IdRange(row["first"], row["end"]))


class RangeEmbedder:
    """
    Embeds the products of a range that need it, and stores their vectors as it goes.

    What is stored stays when this process dies: the range is then given to another, which encodes the rest of it.

    Args:
        plan: Where to read and write.
        files: The encoder's files by name.
    """

    def __init__(self, plan: PassPlan, files: Any) -> None:  # noqa: ANN401  a mapping, or a reference to one
        self._plan = plan
        contents: Mapping[str, bytes] = ray.get(files) if isinstance(files, ray.ObjectRef) else files
        with tempfile.TemporaryDirectory() as name:
            for file, content in contents.items():
                (Path(name) / file).write_bytes(content)
            self._encoder = OnnxEncoder(Path(name), threads=plan.threads)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the range of *row* with ``looked_at``, ``encoded``, ``unreadable`` and ``left_out``."""
        for attempt in range(1, _TRIES + 1):
            try:
                return asyncio.run(self._embed(IdRange(row["first"], row["end"]), after=row["after"]))
            except (DatabaseUnavailable, asyncpg.InterfaceError, asyncpg.PostgresError, OSError) as error:
                if attempt == _TRIES:
                    raise
                _log.warning("the database: %r; trying again in %.0f s", error, _RETRY_S * attempt)
                time.sleep(_RETRY_S * attempt)
        raise AssertionError

    async def _embed(self, within: IdRange, *, after: str | None) -> dict[str, Any]:
        plan = self._plan
        async with reading(plan.settings) if after is None else reading_past(plan.settings, after) as connection:
            products = await read_products(connection, plan.encoder_version, within)
        todo = [product for product in products if not product.is_embedded]
        stored = unreadable = 0
        for start in range(0, len(todo), WRITTEN_AT_ONCE):
            chunk = todo[start : start + WRITTEN_AT_ONCE]
            vectors = self._encoder.encode_what_can_be([product.text for product in chunk])
            rows = [row for row in range(len(chunk)) if np.isfinite(vectors[row]).all()]
            unreadable += len(chunk) - len(rows)
            stored += await self._store([chunk[row] for row in rows], vectors[rows])
        return {
            "first": within.first,
            "end": within.end,
            "looked_at": len(products),
            "encoded": stored,
            "unreadable": unreadable,
            "left_out": len(todo) - unreadable - stored,
        }

    async def _store(self, products: Sequence[ProductText], vectors: NDArray[np.float32]) -> int:
        return await write_embeddings(
            self._plan.settings.database_url,
            self._plan.encoder_version,
            [product.product_id for product in products],
            updated_at=[product.updated_at for product in products],
            text_digests=[product.digest for product in products],
            vectors=vectors,
        )


def embed_catalogue(plan: PassPlan, files: Mapping[str, bytes], ranges: Sequence[IdRange]) -> PassCounts:
    """
    Embed what needs it within *ranges*; what changed meanwhile is looked at again, where the change is seen.

    Raises:
        RunFailed: an actor failed for good; what was encoded before is kept.
    """
    counts, todo = PassCounts(), list(ranges)
    shared = ray.put(dict(files))
    after: str | None = None
    for _ in range(_PASSES):
        for row in _progress(_run(plan, shared, todo, after=after), counts, len(todo)):
            counts.add(row)
        todo, counts.behind = counts.behind, []
        if not todo:
            break
        after = asyncio.run(log_position(plan.settings.database_url))
    counts.behind = todo
    return counts


def _run(plan: PassPlan, files: Any, ranges: Sequence[IdRange], *, after: str | None) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    items = [{"first": one.first, "end": one.end, "after": after} for one in ranges]
    dataset = ray.data.from_items(items, override_num_blocks=len(items)).map(
        RangeEmbedder,  # type: ignore[arg-type]
        fn_constructor_kwargs={"plan": plan, "files": files},
        compute=ActorPoolStrategy(size=min(plan.workers, len(items))),
        num_cpus=plan.threads,
    )
    try:
        yield from dataset.iter_rows()
    except RayError as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise RunFailed(
            f"Embedding the catalogue failed: {reason}. What was encoded before is kept; run the job again to go on."
        ) from error


def _progress(rows: Iterator[dict[str, Any]], counts: PassCounts, ranges: int) -> Iterator[dict[str, Any]]:
    """Pass *rows* on; say every few seconds how far that is."""
    started = said = time.monotonic()
    before = counts.encoded
    for done, row in enumerate(rows, start=1):
        yield row
        now = time.monotonic()
        if now - said > _SAY_EVERY_S or done == ranges:
            rate = (counts.encoded - before) / (now - started)
            left = (now - started) / done * (ranges - done)
            say(
                f"looked at {counts.looked_at:,} products ({done} of {ranges} ranges), encoded {counts.encoded:,} "
                f"({rate:.0f} a second), about {left:.0f} s left"
            )
            said = now
