"""What is counted of products and events while they pass by."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.drift import robust_z
from training.identities import Hashes, IdentitySet, Repetitions, hashed, is_among

_NONE = "(none)"
_LEAST_PRICES = 20
_EXAMPLES = 10
_STEPS_A_DECADE = 4
_DAYS_LOOKED_AT = 90


class ProductProfile:
    """
    Counts over all products; holds some 60 bytes of each that has a price, 8 of the others.

    Args:
        scratch: A directory for files while it counts.
    """

    def __init__(self, scratch: Path) -> None:
        self.rows = 0
        self.missing: Counter[str] = Counter()
        self.categories: Counter[str] = Counter()
        self.price_bins: Counter[str] = Counter()
        self.ids = IdentitySet()
        self._titles = Repetitions(scratch / "titles")
        self._priced: list[tuple[pa.Array, pa.Array, NDArray[np.float64]]] = []

    def add(self, products: pa.RecordBatch) -> None:
        """Count these too."""
        self.rows += products.num_rows
        self.missing.update(missing_values(products))
        self.ids.add(hashed(products["id"]))
        titles = pc.utf8_trim_whitespace(pc.utf8_lower(products["title"]))
        self._titles.add(hashed(titles.filter(pc.greater(pc.utf8_length(titles), 0))))
        self.categories.update(_counted(products["category"]))
        prices = products["price"].cast(pa.float64())
        known = prices.drop_null().to_numpy()
        self.price_bins.update(price_bins(known))
        if nulls := prices.null_count:
            self.price_bins[_NONE] += nulls
        above = pc.fill_null(pc.greater(prices, 0), fill_value=False)
        group = pc.fill_null(products["category"], _NONE)
        self._priced.append((products["id"].filter(above), group.filter(above), prices.filter(above).to_numpy()))

    def repeated_titles(self) -> int:
        """Products whose title, but for case and white space, another one has already."""
        return self._titles.count()

    def price_outliers(self, most: float) -> tuple[int, list[dict[str, object]]]:
        """
        How many prices are far from those of their category, and the farthest of them.

        Prices are compared by their logarithm; a category of few prices is not looked at.

        Args:
            most: The robust z-score beyond which a price is far.
        """
        if not self._priced:
            return 0, []
        ids = pa.chunked_array([part[0] for part in self._priced], pa.string())
        groups = pa.chunked_array([part[1] for part in self._priced], pa.string()).combine_chunks()
        prices = np.concatenate([part[2] for part in self._priced])
        encoded = groups.dictionary_encode()
        codes = encoded.indices.to_numpy()
        scores = np.zeros(len(prices))
        order = np.argsort(codes, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
            if len(rows) >= _LEAST_PRICES:
                scores[rows] = robust_z(np.log(prices[rows]))
        far = np.flatnonzero(np.abs(scores) > most)
        farthest = far[np.argsort(-np.abs(scores[far]), kind="stable")][:_EXAMPLES]
        return len(far), [
            {
                "product_id": ids[int(row)].as_py(),
                "price": float(prices[row]),
                "category": encoded.dictionary[int(codes[row])].as_py(),
                "z": round(float(scores[row]), 1),
            }
            for row in farthest
        ]


class EventProfile:
    """
    Counts over all events; holds 8 bytes of each user, and of each product that nobody knows.

    Args:
        scratch: A directory for files while it counts.
        products: The hashed ids of all products, ascending.
        recent_from: Events since then are also counted apart.
    """

    def __init__(self, scratch: Path, products: Hashes, recent_from: datetime | None) -> None:
        self.rows = 0
        self.missing: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.recent_types: Counter[str] = Counter()
        self.days: Counter[date] = Counter()
        self.unknown = 0
        self.unknown_products = IdentitySet()
        self.users = IdentitySet()
        self._ids = Repetitions(scratch / "events")
        self._products = products
        self._recent_from = recent_from

    def add(self, events: pa.RecordBatch) -> None:
        """Count these too."""
        self.rows += events.num_rows
        self.missing.update(missing_values(events))
        self._ids.add(hashed(events["id"]))
        self.users.add(hashed(events["user_id"]))
        products = hashed(events["product_id"])
        strange = products[~is_among(products, self._products)]
        self.unknown += len(strange)
        self.unknown_products.add(strange)
        self.types.update(_counted(events["type"]))
        if self._recent_from is not None:
            recent = pc.greater(events["occurred_at"], pa.scalar(self._recent_from, events["occurred_at"].type))
            self.recent_types.update(_counted(events["type"].filter(recent)))
        numbers, counts = np.unique(
            events["occurred_at"].cast(pa.int64()).to_numpy() // 86_400_000_000, return_counts=True
        )
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self.days[date(1970, 1, 1) + timedelta(days=number)] += count

    def repeated_ids(self) -> int:
        """Events whose id another one has already."""
        return self._ids.count()

    def scored_days(self, newest: datetime, taken_at: datetime) -> list[tuple[date, int, float]]:
        """
        The last 90 days up to that of *newest*, with their events and how unusual their number is.

        Numbers are compared by their logarithm: a robust z-score. The day of *taken_at* is not over, and is left out.
        """
        end = newest.astimezone(UTC).date()
        if end == taken_at.astimezone(UTC).date():
            end -= timedelta(days=1)
        past = [day for day in self.days if day <= end]
        if not past:
            return []
        first = max(min(past), end - timedelta(days=_DAYS_LOOKED_AT - 1))
        days = [first + timedelta(days=number) for number in range((end - first).days + 1)]
        counts = [self.days.get(day, 0) for day in days]
        scores = robust_z(np.log1p(np.array(counts, np.float64)))
        return list(zip(days, counts, scores.tolist(), strict=True))


def missing_values(batch: pa.RecordBatch) -> dict[str, int]:
    """For each column how many rows have no value there: null, or a text of white space."""
    return {name: _missing(batch[name]) for name in batch.schema.names}


def price_bins(prices: NDArray[np.float64]) -> dict[str, int]:
    """How many of *prices* lie in each of four steps a decade, the same steps whatever the prices; 0 by itself."""
    above = prices[prices > 0]
    steps, counts = np.unique(np.floor(np.log10(above) * _STEPS_A_DECADE), return_counts=True)
    found = {
        f"from {10 ** (step / _STEPS_A_DECADE):.3g}": count
        for step, count in zip(steps.tolist(), counts.tolist(), strict=True)
    }
    if len(above) < len(prices):
        found["0"] = len(prices) - len(above)
    return found


def _missing(column: pa.Array) -> int:
    if not pa.types.is_string(column.type):
        return int(column.null_count)
    blank = pc.sum(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0)).as_py()
    return int(column.null_count) + int(blank or 0)


def _counted(column: pa.Array) -> dict[str, int]:
    return {(each["values"] or _NONE): each["counts"] for each in column.value_counts().to_pylist()}
