"""
The collaborative job: events in, user and item factors out.

Run it as ``ray job submit ... -- python -m training.collaborative``.
"""

from __future__ import annotations

import argparse
import asyncio

import pyarrow as pa
import ray
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from artifacts.event_weights import query_arguments, weights_in_manifest
from artifacts.manifest import DataWindow, ManifestDraft, new_version
from storage.settings import StorageSettings
from training.als import HOLDOUT_AT_LEAST, HOLDOUT_SHARE, AlsSettings
from training.arguments import add_runs, job_parser, positive, run_job, runs_at, store_at, whole
from training.errors import NothingToTrainOn
from training.factor_run import train_factors
from training.interactions import EVENT_COUNT_COLUMNS, INTERACTION_COLUMNS
from training.progress import Stopwatch, conclude, say
from training.publication import parent_of, put_into_use
from training.queries import QUERIES
from training.reading import arrow_table, reading
from training.run import connect, one_worker, run_config, trained


async def read_interactions(settings: StorageSettings) -> tuple[pa.Table, pa.Table, DataWindow]:
    """
    Return the interactions of all users, the number of their events, and the span of time, all of one moment.

    Returns:
        A table with `INTERACTION_COLUMNS`, one with `EVENT_COUNT_COLUMNS`, and the data window.

    Raises:
        NothingToTrainOn: there are none.
    """
    async with reading(settings) as connection:
        window = await connection.fetchrow(QUERIES["event_window"])
        table = await arrow_table(connection, QUERIES["interactions"], *query_arguments(), columns=INTERACTION_COLUMNS)
        counts = await arrow_table(connection, QUERIES["user_event_counts"], columns=EVENT_COUNT_COLUMNS)
    if window is None or window["began"] is None or not table.num_rows:
        raise NothingToTrainOn("There are no events on products of the catalogue. Load some, then run the job again.")
    return table, counts, DataWindow(start=window["began"], end=window["ended"])


def train(flags: argparse.Namespace) -> None:
    """Train, publish and activate one ``collaborative`` version."""
    store, watch, version = store_at(flags.root), Stopwatch(), new_version()
    settings = AlsSettings(flags.factors, flags.alpha, flags.regularization, flags.iterations, flags.seed)
    say(f"collaborative {version}: reading events")
    table, counts, window = asyncio.run(read_interactions(StorageSettings.from_environment()))
    watch.lap("read")
    say(f"fitting {settings.factors} factors to {table.num_rows} interactions")
    connect()
    trainer = DataParallelTrainer(
        train_factors,
        train_loop_config={
            "interactions": ray.put(table),
            "event_counts": ray.put(counts),
            "settings": settings.as_parameters(),
        },
        scaling_config=one_worker(),
        # Ray's annotation names the class it replaces at run time.
        run_config=run_config(version, runs_at(flags.root, flags.runs, "collaborative")),  # type: ignore[arg-type]
    )
    with trained(trainer) as (directory, report):
        watch.lap("run")
        draft = ManifestDraft(
            kind="collaborative",
            version=version,
            dim=settings.factors,
            metric="dot",
            counts=report["counts"],
            parameters={
                "als": settings.as_parameters(),
                "event_weights": weights_in_manifest(),
                "cf_transform": report["cf_transform"],
                "holdout": {"share": HOLDOUT_SHARE, "at_least": HOLDOUT_AT_LEAST, "by": "last of each user"},
            },
            data_window=window,
            metrics=report["metrics"],
            parent=parent_of(store, "collaborative"),
            seconds=watch.seconds | report["seconds"],
        )
        manifest = store.publish(directory, draft)
    put_into_use(store, manifest, flags)
    conclude(manifest)


def main() -> None:
    """Read the flags and run the job."""
    defaults = AlsSettings()
    parser = job_parser("training.collaborative", "Train user and item factors by implicit ALS.")
    add_runs(parser)
    parser.add_argument("--factors", type=whole, default=defaults.factors, help="dimension of the factors")
    parser.add_argument("--alpha", type=positive, default=defaults.alpha, help="weight of a confidence of 1")
    parser.add_argument("--regularization", type=positive, default=defaults.regularization, help="lambda")
    parser.add_argument("--iterations", type=whole, default=defaults.iterations, help="rounds of alternation")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="start of the random numbers")
    flags = parser.parse_args()
    run_job(lambda: train(flags))


if __name__ == "__main__":
    main()
