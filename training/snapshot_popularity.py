"""Popularity counted from a snapshot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from artifacts.manifest import DataWindow
from artifacts.popularity_table import PopularityTable
from training.errors import NothingToTrainOn
from training.interactions import Numbering
from training.snapshot_reading import Snapshot

_HALF_LIVES = 10
_DECIMALS = 6
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def snapshot_counts(snapshot: Snapshot, half_life_days: float) -> tuple[PopularityTable, DataWindow]:
    """
    Return the popularity of every product with an event, and the data window, as the statement ``decayed_counts`` does.

    The statement adds in another order, so a count may differ by one in its last decimal, the sixth.

    Raises:
        NothingToTrainOn: there are no events.
    """
    ended = snapshot.manifest.window_end
    products, began = Numbering(), None
    counts: NDArray[np.float64] = np.zeros(0)
    if ended is not None:
        end = (ended - _EPOCH) // timedelta(microseconds=1)
        reach = max(end - round(_HALF_LIVES * half_life_days * 86400e6), -(2**62))
        for events in snapshot.weighed_events():
            recent = events.at > reach
            if not recent.any():
                continue
            at = events.at[recent]
            age_days = np.maximum(end - at, 0) / 1e6 / 86400
            weights = events.weights[recent] * np.power(0.5, age_days / half_life_days)
            numbers = products.numbered(events.product_ids.filter(pa.array(recent)))
            more = np.bincount(numbers, weights=weights, minlength=len(counts)).astype(np.float64)
            more[: len(counts)] += counts
            counts, oldest = more, int(at.min())
            began = oldest if began is None else min(began, oldest)
    if ended is None or began is None:
        raise NothingToTrainOn(f"{snapshot.name} has no events on products of the catalogue. Take another snapshot.")
    product_ids, places = products.in_order()
    ordered = np.empty(len(counts))
    ordered[places] = np.round(counts, _DECIMALS)
    largest = np.log1p(ordered.max())
    popularity = (np.log1p(ordered) / largest if largest else np.zeros(len(ordered))).astype(np.float32)
    return PopularityTable(product_ids, popularity, ordered), DataWindow(
        start=_EPOCH + timedelta(microseconds=began), end=ended
    )
