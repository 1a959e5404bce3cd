"""Popularity recounted from the events while the graph serves."""

from __future__ import annotations

import io
import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from artifacts.event_weights import DEFAULT_HALF_LIFE_DAYS, query_arguments
from catalogue.connections import connected
from storage.connection import Connection
from storage.errors import DatabaseUnavailable
from storage.named_queries import QUERIES
from storage.server_failures import SERVER_FAILURES
from storage.settings import StorageSettings

LEAST_CHANGE = 1e-4
"""A popularity that moved by no more stays as it is: all decay a little with each event, and few rows need writing."""

MOST_LAG_S = 60.0
KEPT_VERSIONS = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PopularityRefresh:
    """
    What became of a recount.

    Args:
        version: The popularity version in force afterwards; None before the first.
        products: How many products have a count.
        changed: How many rows were written or removed; 0 where nothing changed, and then the version is the one before.
        superseded: A training job put its version into force meanwhile; the recount was dropped.
        read_from: The server that counted.
        seconds: Time taken.
    """

    version: str | None
    products: int
    changed: int
    superseded: bool
    read_from: str
    seconds: float


async def refresh_popularity(settings: StorageSettings) -> PopularityRefresh:
    """
    Recount popularity, with the half-life in force, and put it into force where it changed.

    It is counted on a read replica at most a minute behind, if there is one, and written to the primary in one
    transaction, changed rows only. Without events on products of the catalogue everything stays. Where the events have
    moved on by more than ten half-lives the data window stays, and the new events count whole: only a training job
    forgets all that was popular before.

    Raises:
        DatabaseUnavailable: no server could count, or the primary does not answer.
    """
    started = time.monotonic()
    async with connected(settings.database_url, "primary") as primary:
        before = await primary.fetchrow(QUERIES["popularity_state"])
        assert before is not None
        half_life_days: float = before["half_life_days"] or DEFAULT_HALF_LIFE_DAYS
        counting = (*query_arguments(), half_life_days, before["window_end"])
        counts, read_from = await _counted(settings, primary, before["beat_at"], counting)
        async with primary.transaction():
            await primary.execute(QUERIES["lock_popularity"])
            now = await primary.fetchrow(QUERIES["popularity_state"])
            assert now is not None
            superseded = now["version"] != before["version"]
            products, changed, version = 0, 0, now["version"]
            if not superseded:
                products, changed, version = await _put_in_force(primary, counts, version, half_life_days)
    return PopularityRefresh(version, products, changed, superseded, read_from, round(time.monotonic() - started, 3))


async def _put_in_force(
    primary: Connection, counts: io.BytesIO, version: str | None, half_life_days: float
) -> tuple[int, int, str | None]:
    """How many products have a count, how many rows changed, and the version that is in force then."""
    await primary.execute(QUERIES["begin_popularity"])
    await primary.copy_to_table("new_popularity", source=counts, format="binary")
    counted = await primary.fetchrow(QUERIES["counted_popularity"])
    assert counted is not None
    if not counted["products"]:
        return 0, 0, version
    fresh = new_popularity_version()
    changed: int = await primary.fetchval(QUERIES["remove_forgotten_popularity"])
    changed += await primary.fetchval(QUERIES["write_popularity"], fresh, LEAST_CHANGE)
    if not changed:
        return counted["products"], 0, version
    await primary.execute(QUERIES["deactivate_popularity"])
    await primary.execute(QUERIES["activate_popularity"], fresh, counted["window_end"], half_life_days)
    await primary.execute(QUERIES["prune_popularity_versions"], KEPT_VERSIONS)
    return counted["products"], changed, fresh


def new_popularity_version(now: datetime | None = None) -> str:
    """Return a version named as a training job's, with microseconds at its end: later ones sort after earlier ones."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ-%f}"


async def _counted(
    settings: StorageSettings, primary: Connection, beat_at: datetime | None, counting: tuple[object, ...]
) -> tuple[io.BytesIO, str]:
    """The rows of ``decayed_counts``, as COPY writes them, and the server that counted them."""
    for number, url in enumerate(settings.replica_urls, start=1):
        name = f"replica-{number}"
        try:
            async with connected(url, name) as replica:
                if _behind(beat_at, await replica.fetchval(QUERIES["last_beat"])):
                    continue
                return await _copied(replica, counting), name
        except (DatabaseUnavailable, *SERVER_FAILURES) as error:
            log.info("%s does not count popularity: %r", name, error)
    return await _copied(primary, counting), "primary"


async def _copied(connection: Connection, counting: tuple[object, ...]) -> io.BytesIO:
    rows = io.BytesIO()
    await connection.copy_from_query(QUERIES["decayed_counts"].rstrip("; \n"), *counting, output=rows, format="binary")
    rows.seek(0)
    return rows


def _behind(beat_at: datetime | None, seen: datetime | None) -> bool:
    """Whether a replica that has *seen* a heartbeat lacks too much of what the primary had at *beat_at*."""
    return beat_at is not None and (seen is None or (beat_at - seen).total_seconds() > MOST_LAG_S)
