"""What factors are fitted to, from Postgres, from a snapshot or from parquet."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from artifacts.event_weights import query_arguments
from artifacts.manifest import DataWindow
from storage.settings import StorageSettings
from training.errors import NothingToTrainOn
from training.interaction_files import read_interaction_files
from training.interactions import EVENT_COUNT_COLUMNS, INTERACTION_COLUMNS, Interactions, event_counts_of
from training.queries import QUERIES
from training.reading import arrow_batches, arrow_table, reading
from training.snapshot_reading import Snapshot, open_snapshot, snapshot_interactions


@dataclass(frozen=True)
class TrainingData:
    """
    What was read, all of one moment.

    Args:
        interactions: At least one.
        window: The span of time; None where there are no times.
        event_counts: How many events of each user had been accepted, int64, shape (users,); None where the interactions
            were not made from events.
        source: The file or snapshot it came from; None: Postgres.
    """

    interactions: Interactions
    window: DataWindow | None
    event_counts: NDArray[np.int64] | None = None
    source: str | None = None

    def digest(self) -> str:
        """Says of interactions and event counts whether they are the same, wherever they were read."""
        counts = b"" if self.event_counts is None else self.event_counts.tobytes()
        return hashlib.sha256(self.interactions.digest().encode() + counts).hexdigest()


def read_data(path: str | None, *, root: str, snapshot: str | None = None) -> TrainingData:
    """
    Return the interactions of the parquet at *path*, else those of *snapshot*, else of the events in Postgres.

    Args:
        root: The artifact root.
        snapshot: As `open_snapshot` takes it.

    Raises:
        NothingToTrainOn: there are none.
        WrongInput: the parquet is not what it must be.
    """
    if snapshot is not None:
        return _of_snapshot(open_snapshot(root, snapshot))
    if path is None:
        return asyncio.run(read_events(StorageSettings.from_environment()))
    interactions, window = read_interaction_files(path)
    return TrainingData(interactions, window, source=path)


def _of_snapshot(snapshot: Snapshot) -> TrainingData:
    interactions = snapshot_interactions(snapshot)
    if not len(interactions):
        raise NothingToTrainOn(f"{snapshot.name} has no events on products of the catalogue. Take another snapshot.")
    return TrainingData(
        interactions,
        snapshot.manifest.data_window,
        event_counts_of(interactions.user_ids, snapshot.event_counts()),
        source=snapshot.name,
    )


async def read_events(settings: StorageSettings) -> TrainingData:
    """
    Return the interactions of all users with the number of their events; from a read replica where there is one.

    Raises:
        NothingToTrainOn: there are none.
    """
    async with reading(settings) as connection:
        window = await connection.fetchrow(QUERIES["event_window"])
        async with arrow_batches(
            connection, QUERIES["interactions"], *query_arguments(), columns=INTERACTION_COLUMNS
        ) as batches:
            interactions = Interactions.from_batches(batches)
        counts = await arrow_table(connection, QUERIES["user_event_counts"], columns=EVENT_COUNT_COLUMNS)
    if window is None or window["began"] is None or not len(interactions):
        raise NothingToTrainOn("There are no events on products of the catalogue. Load some, then run the job again.")
    return TrainingData(
        interactions,
        DataWindow(start=window["began"], end=window["ended"]),
        event_counts_of(interactions.user_ids, counts),
    )
