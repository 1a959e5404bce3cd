"""How well a recommender finds what users did next."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from evaluation.beyond_accuracy import coverage, novelty
from evaluation.intervals import bootstrap_intervals
from evaluation.metrics import LISTED, MEASURES, FloatVector, Lists, SparseMatrix, ranking_metrics
from evaluation.recommenders import Recommender, Rows
from evaluation.segments import Segment

DECIMALS = 4


@dataclass(frozen=True)
class Estimate:
    """A mean over users, and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """
    What came of one recommender.

    Args:
        users: How many were asked for.
        metrics: By the names of `MEASURES`.
        coverage: Share of the items that stand in a list.
        novelty: Mean surprise of a listed item, bits.
        segments: The same metrics of parts of users and items, with the number of users that a part has; a part that
            nobody wanted anything of is not there.
    """

    users: int
    metrics: dict[str, Estimate]
    coverage: float
    novelty: float
    segments: dict[str, Evaluation] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """The means alone, with coverage and novelty."""
        beyond = {"coverage": self.coverage, "novelty_bits": self.novelty}
        return {name: estimate.mean for name, estimate in self.metrics.items()} | beyond


def evaluate(
    recommender: Recommender,
    known: SparseMatrix,
    wanted: SparseMatrix,
    *,
    users: Rows | None = None,
    parts: list[Segment] | None = None,
) -> Evaluation:
    """
    Return how well the lists of *recommender* hold what is *wanted*.

    Args:
        recommender: Has learned from *known*, or less.
        known: CSR matrix (users, items): never listed.
        wanted: CSR matrix of the same shape: what should be found.
        users: Whom to ask for; None: all who want anything. Those who want nothing are left out.
        parts: Also looked at apart, with the same lists.
    """
    asked = np.arange(wanted.shape[0]) if users is None else users
    asked = asked[np.diff(wanted.indptr)[asked] > 0].astype(np.int64)
    lists = recommender.recommend(asked, known[asked], LISTED)
    whole = _evaluated(lists, known, wanted[asked])
    for part in parts or []:
        within = _restricted(wanted[asked], part.items)
        rows = np.flatnonzero((np.diff(within.indptr) > 0) & part.users[asked])
        if len(rows):
            whole.segments[part.name] = _evaluated(lists[rows], known, within[rows])
    return whole


def mean_metrics(recommender: Recommender, known: SparseMatrix, wanted: SparseMatrix, users: Rows) -> dict[str, float]:
    """Return the means alone, by the names of `MEASURES`; arguments as of `evaluate`, each user wants something."""
    values = ranking_metrics(recommender.recommend(users, known[users], LISTED), wanted[users])
    return {name: round(float(each.mean()), DECIMALS) for name, each in values.items()}


def _evaluated(lists: Lists, known: SparseMatrix, wanted: SparseMatrix) -> Evaluation:
    values = ranking_metrics(lists, wanted)
    return Evaluation(
        users=len(lists),
        metrics=_estimates(values),
        coverage=round(coverage(lists, known.shape[1]), DECIMALS),
        novelty=round(novelty(lists, known), DECIMALS),
    )


def _estimates(values: dict[str, FloatVector]) -> dict[str, Estimate]:
    table = np.column_stack([values[name] for name in MEASURES])
    low, high = bootstrap_intervals(table)
    means = table.mean(axis=0) if len(table) else np.zeros(len(MEASURES))
    return {
        name: Estimate(*(round(float(each[column]), DECIMALS) for each in (means, low, high)))
        for column, name in enumerate(MEASURES)
    }


def _restricted(matrix: SparseMatrix, items: NDArray[np.bool_]) -> SparseMatrix:
    """The entries of *matrix* at *items*, in the same shape."""
    kept = items[matrix.indices]
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[kept]
    return sparse.csr_matrix((matrix.data[kept], (rows, matrix.indices[kept])), shape=matrix.shape)
