"""What factors are fitted to, from Postgres or from parquet."""

from __future__ import annotations

import asyncio
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


@dataclass(frozen=True)
class TrainingData:
    """
    What was read, all of one moment.

    Args:
        interactions: At least one.
        window: The span of time; None where there are no times.
        event_counts: How many events of each user had been accepted, int64, shape (users,); None where nobody knows.
        source: The file it came from; None: Postgres.
    """

    interactions: Interactions
    window: DataWindow | None
    event_counts: NDArray[np.int64] | None = None
    source: str | None = None


def read_data(path: str | None) -> TrainingData:
    """
    Return the interactions of the parquet at *path*, or without one of the events in Postgres.

    Raises:
        NothingToTrainOn: there are none.
        WrongInput: the parquet is not what it must be.
    """
    if path is None:
        return asyncio.run(read_events(StorageSettings.from_environment()))
    interactions, window = read_interaction_files(path)
    return TrainingData(interactions, window, source=path)


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
