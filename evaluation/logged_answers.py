"""Answers as they were shown, with the features they were ranked by and what was clicked: the log that replay reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ranking.config import FEATURES, RankingConfig
from ranking.scoring import score

COLUMNS: Mapping[str, pa.DataType] = {
    "request_id": pa.string(),
    "shown_at": pa.float64(),
    "kind": pa.string(),
    "user_id": pa.string(),
    "product_id": pa.string(),
    "rank": pa.int64(),
    "category": pa.string(),
    **dict.fromkeys(FEATURES, pa.float64()),
    "clicked": pa.bool_(),
}
"""One row a shown product; ``shown_at`` in seconds since 1970. Features are null where absent."""

_MAY_BE_NULL = {"user_id", "category", *FEATURES}

Vector = NDArray[np.float64]
Rows = NDArray[np.int64]
Chosen = NDArray[np.bool_]


class WrongLog(ValueError):
    """A log of answers is not what it must be; the message says in what."""


@dataclass(frozen=True)
class LoggedAnswers:
    """
    m answers that showed n products in all, answer after answer, each in the order shown.

    Args:
        starts: int64, shape (m + 1,): answer a has the rows from ``starts[a]`` up to ``starts[a + 1]``, at least one.
        shown_at: Shape (m,), seconds since 1970.
        kinds: Length m, ``search`` or ``recommendations``.
        user_ids: Length m, None where nobody was named.
        product_ids: Length n.
        ranks: int64, shape (n,), from 1 within the whole answer: a later page starts higher.
        categories: Length n, None where the product has none.
        features: By the names of ``FEATURES``: float64, shape (n,), in [0, 1], NaN where absent.
        clicked: Shape (n,).
    """

    starts: Rows
    shown_at: Vector
    kinds: Sequence[str]
    user_ids: Sequence[str | None]
    product_ids: Sequence[str]
    ranks: Rows
    categories: Sequence[str | None]
    features: Mapping[str, Vector]
    clicked: Chosen

    def __len__(self) -> int:
        """The number of answers."""
        return len(self.shown_at)

    @property
    def sizes(self) -> Rows:
        """How many products each answer showed, shape (m,)."""
        return np.diff(self.starts)

    @property
    def answer_of(self) -> Rows:
        """The answer of each row, shape (n,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def only(self, keep: Chosen) -> LoggedAnswers:
        """The answers where *keep*, shape (m,), is true, in the same order."""
        rows = np.flatnonzero(np.repeat(keep, self.sizes))
        chosen = np.flatnonzero(keep).tolist()
        return LoggedAnswers(
            starts=np.concatenate([[0], np.cumsum(self.sizes[keep])]).astype(np.int64),
            shown_at=self.shown_at[keep],
            kinds=[self.kinds[answer] for answer in chosen],
            user_ids=[self.user_ids[answer] for answer in chosen],
            product_ids=[self.product_ids[row] for row in rows.tolist()],
            ranks=self.ranks[rows],
            categories=[self.categories[row] for row in rows.tolist()],
            features={name: values[rows] for name, values in self.features.items()},
            clicked=self.clicked[rows],
        )

    def with_cf(self, cf: Vector) -> LoggedAnswers:
        """The same answers with another ``cf``, shape (n,), NaN where absent."""
        return replace(self, features={**self.features, "cf": cf})

    def with_clicks(self, clicked: Chosen) -> LoggedAnswers:
        """The same answers with other clicks, shape (n,)."""
        return replace(self, clicked=clicked)

    def ranked_by(self, config: RankingConfig) -> Rows:
        """
        Return the place that each product takes in its answer when the ranker of the graph orders it by *config*.

        Returns:
            int64, shape (n,), from 1; a page that began at rank 11 is still ordered from 1.
        """
        micros = score(self.features, config.weights_of(self.categories)).micros
        answers = self.answer_of
        order = np.lexsort((np.asarray(self.product_ids, dtype=np.str_), -micros, answers))
        places = np.empty(len(answers), dtype=np.int64)
        # Rows of an answer stay together, so the place within it is the distance to its first row.
        places[order] = np.arange(len(answers)) - self.starts[answers[order]] + 1
        return places

    @classmethod
    def of_table(cls, table: pa.Table) -> LoggedAnswers:
        """
        Return the answers of *table*, which has `COLUMNS`; the rows of an answer share ``request_id`` and ``shown_at``.

        Raises:
            WrongLog: a column is missing or of another type, a value is missing, or a feature is not in [0, 1].
        """
        table = _checked(table).sort_by([(name, "ascending") for name in ("shown_at", "request_id", "rank")])
        columns: dict[str, Any] = {name: table[name].combine_chunks() for name in COLUMNS}
        shown_at = columns["shown_at"].to_numpy()
        request_ids = columns["request_id"].to_pylist()
        size = len(shown_at)
        begins = np.ones(size, dtype=np.bool_)
        if size:
            same = np.fromiter((request_ids[row] == request_ids[row - 1] for row in range(1, size)), np.bool_, size - 1)
            begins[1:] = ~(same & (shown_at[1:] == shown_at[:-1]))
        first = np.flatnonzero(begins)
        kinds, user_ids = columns["kind"].to_pylist(), columns["user_id"].to_pylist()
        return cls(
            starts=np.append(first, size).astype(np.int64),
            shown_at=shown_at[first],
            kinds=[kinds[row] for row in first.tolist()],
            user_ids=[user_ids[row] for row in first.tolist()],
            product_ids=columns["product_id"].to_pylist(),
            ranks=columns["rank"].to_numpy(),
            categories=columns["category"].to_pylist(),
            features={name: columns[name].to_numpy(zero_copy_only=False) for name in FEATURES},
            clicked=columns["clicked"].to_numpy(zero_copy_only=False),
        )


def _checked(table: pa.Table) -> pa.Table:
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing:
        raise WrongLog(f"column {', '.join(missing)} is missing; a log has {', '.join(COLUMNS)}")
    try:
        table = table.select(list(COLUMNS)).cast(pa.schema(COLUMNS.items()))
    except (pa.ArrowException, ValueError) as error:
        raise WrongLog(f"a column is not of its type: {error}") from error
    for name in COLUMNS:
        if name not in _MAY_BE_NULL and table[name].null_count:
            raise WrongLog(f"column {name} has {table[name].null_count} empty values")
    for name in FEATURES:
        values = table[name].to_numpy()
        outside = (values < 0) | (values > 1)
        if outside.any():
            raise WrongLog(f"column {name} has {values[outside][0]}; a feature lies in [0, 1], or is empty")
    if len(table) and table["rank"].to_numpy().min() < 1:
        raise WrongLog("column rank has a value below 1; ranks count from 1")
    return table
