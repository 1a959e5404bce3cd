"""Interactions from parquet."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from artifacts.manifest import DataWindow
from training.errors import NothingToTrainOn, WrongInput
from training.interactions import HOLDOUT_COLUMN, Interactions

_ROWS_AT_ONCE = 262_144
_FIRST_S, _LAST_S = (datetime(year, 1, 2, tzinfo=UTC).timestamp() for year in (1, 9999))


def read_interaction_files(path: str) -> tuple[Interactions, DataWindow | None]:
    """
    Return the interactions of a parquet file, or of all below a directory, and the span of their times.

    Args:
        path: The columns ``user_id`` and ``product_id`` are needed; ``confidence``, above 0, is 1 where it is missing;
            ``at`` is a timestamp or seconds since 1970, 0 where it is missing; ``holdout`` says which to withhold.

    Returns:
        Interactions, and the window, None without times.

    Raises:
        NothingToTrainOn: there are none.
        WrongInput: it is not readable as parquet, a column is missing or a value is out of its range.
    """
    try:
        files = ds.dataset(path, format="parquet")
    except (OSError, pa.ArrowException) as error:
        raise WrongInput(f"{path} cannot be read as parquet: {error}") from error
    missing = {"user_id", "product_id"} - set(files.schema.names)
    if missing:
        raise WrongInput(
            f"{path} has no column {' and no '.join(sorted(missing))}; it has {', '.join(files.schema.names)}."
        )
    names = [
        name for name in ("user_id", "product_id", "confidence", "at", HOLDOUT_COLUMN) if name in files.schema.names
    ]
    interactions = Interactions.from_batches(_batches(files, names, path))
    if not len(interactions):
        raise NothingToTrainOn(f"{path} holds no interactions.")
    return interactions, _window(interactions) if "at" in names else None


def _batches(files: ds.Dataset, names: list[str], path: str) -> Iterator[pa.RecordBatch]:
    try:
        for batch in files.to_batches(columns=names, batch_size=_ROWS_AT_ONCE, batch_readahead=1, fragment_readahead=1):
            yield _checked(batch, names, path)
    except (OSError, pa.ArrowException) as error:
        raise WrongInput(f"{path} cannot be read as interactions: {error}") from error


def _checked(batch: pa.RecordBatch, names: list[str], path: str) -> pa.RecordBatch:
    columns = {name: batch[name].cast(pa.string()) for name in ("user_id", "product_id")}
    given = batch["confidence"] if "confidence" in names else pa.array(np.ones(batch.num_rows, np.float32))
    columns["confidence"] = given.cast(pa.float32())
    columns["last_at"] = _seconds(batch["at"]) if "at" in names else pa.array(np.zeros(batch.num_rows))
    if HOLDOUT_COLUMN in names:
        columns[HOLDOUT_COLUMN] = batch[HOLDOUT_COLUMN].cast(pa.bool_())
    if any(column.null_count for column in columns.values()):
        raise WrongInput(f"{path} has rows without a value in {', '.join(names)}.")
    confidence, times = columns["confidence"].to_numpy(), columns["last_at"].to_numpy()
    if (bad := confidence[~(np.isfinite(confidence) & (confidence > 0))]).size:
        raise WrongInput(f"{path} has a confidence of {bad[0]}; it must be above 0.")
    if (bad := times[~((times > _FIRST_S) & (times < _LAST_S))]).size:
        raise WrongInput(f"{path} has a time of {bad[0]}; it must be a timestamp, or seconds since 1970.")
    return pa.record_batch(columns)


def _seconds(column: pa.Array) -> pa.Array:
    """Seconds since 1970, float64."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        microseconds = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None))).cast(pa.int64())
        return pc.divide(microseconds.cast(pa.float64()), 1e6)
    return column.cast(pa.float64())


def _window(interactions: Interactions) -> DataWindow:
    began, ended = (
        datetime.fromtimestamp(float(moment), UTC)
        for moment in (interactions.last_at.min(), interactions.last_at.max())
    )
    return DataWindow(start=began, end=ended)
