"""
The popularity job: weighted, time-decayed counts of events by product.

The same statement recounts every few minutes while the graph serves (`catalogue.popularity`); the job makes a version
that is kept as an artifact, and sets the half-life.

Run it as ``python -m training.popularity``, or as a Ray job; it needs no cluster. Postgres does the counting.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from artifacts.event_weights import DEFAULT_HALF_LIFE_DAYS, query_arguments, weights_in_manifest
from artifacts.manifest import DataWindow, Manifest, ManifestDraft, new_version
from artifacts.popularity_table import PopularityTable
from artifacts.store import ArtifactStore
from storage.named_queries import QUERIES
from storage.settings import StorageSettings
from training.arguments import add_snapshot, job_parser, positive, require_writable, run_job, store_at
from training.config_file import parsed_flags
from training.connection import primary
from training.errors import NothingToTrainOn
from training.popularity_rows import with_rows
from training.progress import Stopwatch, conclude, say
from training.publication import parent_of, put_into_use
from training.reading import arrow_table, reading
from training.snapshot_popularity import snapshot_counts
from training.snapshot_reading import open_snapshot
from training.up_to_date import MADE_FROM, current, made_from

_COLUMNS = {
    "product_id": pa.string(),
    "popularity": pa.float32(),
    "weighted_count": pa.float64(),
    "began": pa.float64(),
    "ended": pa.float64(),
}


async def counted(settings: StorageSettings, half_life_days: float) -> tuple[PopularityTable, DataWindow]:
    """
    Return the popularity of every product with an event, and the data window.

    Raises:
        NothingToTrainOn: there are no events.
    """
    async with reading(settings) as connection:
        table = await arrow_table(
            connection, QUERIES["decayed_counts"], *query_arguments(), half_life_days, None, columns=_COLUMNS
        )
    if not table.num_rows:
        raise NothingToTrainOn("There are no events on products of the catalogue. Load some, then run the job again.")
    start, end = (datetime.fromtimestamp(table[name][0].as_py(), UTC) for name in ("began", "ended"))
    popularity, counts = table["popularity"].to_numpy(), table["weighted_count"].to_numpy()
    return PopularityTable(table["product_id"].to_pylist(), popularity, counts), DataWindow(start=start, end=end)


def publish(
    store: ArtifactStore,
    table: PopularityTable,
    window: DataWindow,
    half_life_days: float,
    watch: Stopwatch,
    *,
    origin: str | None = None,
) -> Manifest:
    """Publish *table* as a ``popularity`` version and return its manifest."""
    largest = float(table.weighted_count.max(initial=0.0))
    draft = ManifestDraft(
        kind="popularity",
        version=new_version(),
        metric="popularity",
        counts={"products": len(table.product_ids)},
        parameters={
            "event_weights": weights_in_manifest(),
            "half_life_days": half_life_days,
            "transform": {"kind": "log1p_ratio", "largest": largest},
            MADE_FROM: origin,
        },
        data_window=window,
        metrics={
            "mean": round(float(table.popularity.mean()), 4),
            "median": round(float(np.median(table.popularity)), 4),
        },
        parent=parent_of(store, "popularity"),
        seconds=watch.seconds,
    )
    with tempfile.TemporaryDirectory() as directory:
        table.save(Path(directory))
        return store.publish(Path(directory), draft)


def train(flags: argparse.Namespace) -> None:
    """Count, publish and put into use one ``popularity`` version."""
    require_writable(flags.root)
    store, watch, settings = store_at(flags.root), Stopwatch(), StorageSettings.from_environment()
    say(f"popularity: counting {flags.snapshot or 'events'}, half-life {flags.half_life_days:g} days")
    if flags.snapshot:
        table, window = snapshot_counts(open_snapshot(flags.root, flags.snapshot), flags.half_life_days)
    else:
        table, window = asyncio.run(counted(settings, flags.half_life_days))
    watch.lap("count")
    origin = made_from(_digest(table, window), flags)
    if flags.if_changed and (unchanged := current(store, "popularity", origin)):
        if asyncio.run(_is_counted_on(settings, flags.half_life_days)):
            say(f"nothing changed since {unchanged.version}, which stays in use")
            conclude(unchanged, changed=False)
            return
        say("the database has no popularity of that half-life in force; publishing anew")
    manifest = publish(store, table, window, flags.half_life_days, watch, origin=origin)
    put_into_use(store, manifest, flags, with_rows(settings.database_url))
    conclude(manifest)


def _digest(table: PopularityTable, window: DataWindow) -> str:
    """Says of counts whether they are the same; the last decimal is left out, in which two ways of adding differ."""
    found = hashlib.sha256(f"{window.end.timestamp()}".encode())
    order = sorted(range(len(table.product_ids)), key=table.product_ids.__getitem__)
    found.update("\0".join(table.product_ids[row] for row in order).encode())
    found.update(np.round(table.weighted_count[order], _DECIMALS_COMPARED).tobytes())
    return found.hexdigest()


async def _is_counted_on(settings: StorageSettings, half_life_days: float) -> bool:
    """Whether serving keeps counting with this half-life from a popularity in force."""
    async with primary(settings.database_url) as connection:
        state = await connection.fetchrow(QUERIES["popularity_state"])
    return state is not None and bool(state["half_life_days"] == half_life_days)


_DECIMALS_COMPARED = 4
"""Of a weighted count."""


def main() -> None:
    """Read the flags and run the job."""
    parser = job_parser("training.popularity", "Count events by product, weighted and decayed in time.")
    parser.add_argument(
        "--half-life-days",
        type=positive,
        default=DEFAULT_HALF_LIFE_DAYS,
        help="an event this many days before the end of the data window counts half",
    )
    add_snapshot(parser)
    flags = parsed_flags(parser)
    run_job(lambda: train(flags))


if __name__ == "__main__":
    main()
