"""What the clicks on logged answers say of another order of the same products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.intervals import bootstrap_intervals
from evaluation.logged_answers import LoggedAnswers, Rows, Vector

CUT_OFF = 10
LEAST_EXAMINED = 0.05
"""A click counts for at most the inverse of this, or a few from far down would decide everything."""

NAMES = ("ndcg_at_10", "mrr")


def examined(ranks: Rows, position_bias: float) -> Vector:
    """
    Return how likely a rank is looked at, relative to the first, shape (n,), in (0, 1].

    Args:
        ranks: From 1.
        position_bias: The eta of ``rank ** -eta``; 0: every rank alike.

    Source:
        Joachims, Swaminathan, Schnabel, "Unbiased learning-to-rank with biased feedback", 2017.
    """
    return np.maximum(ranks.astype(np.float64) ** -position_bias, LEAST_EXAMINED)


@dataclass(frozen=True)
class ClickMetrics:
    """
    How well one order of each answer agrees with its clicks.

    Args:
        values: Shape (m, 2): `NAMES` of each answer, in [0, 1].
        weights: Shape (m,): what each answer counts for, the sum of its clicks' inverse propensities; 0 without clicks.
    """

    values: Vector
    weights: Vector


def click_metrics(answers: LoggedAnswers, places: Rows, *, position_bias: float) -> ClickMetrics:
    """
    Return NDCG@10 and reciprocal rank of the clicked products at *places*.

    A click counts for the inverse of how likely its logged rank was looked at, as a gain within its answer and as a
    weight among answers; with ``position_bias`` 0 all are alike, and NDCG is that of trec_eval.

    Args:
        answers: As logged.
        places: Shape (n,), from 1 within each answer; see `LoggedAnswers.ranked_by`.
        position_bias: See `examined`.
    """
    rows = np.flatnonzero(answers.clicked)
    answer = answers.answer_of[rows]
    gains = 1 / examined(answers.ranks[rows], position_bias)
    count = len(answers)
    found = np.bincount(answer, gains * _discount(places[rows]), minlength=count)
    best = np.bincount(answer, gains * _discount(_ideal_places(answer, gains)), minlength=count)
    highest = np.full(count, np.inf)
    np.minimum.at(highest, answer, places[rows].astype(np.float64))
    return ClickMetrics(
        values=np.column_stack([np.divide(found, best, out=np.zeros(count), where=best > 0), 1 / highest]),
        weights=np.bincount(answer, gains, minlength=count).astype(np.float64),
    )


@dataclass(frozen=True)
class Estimate:
    """A mean over clicks, and the ends of its 95 % interval over users."""

    mean: float
    low: float
    high: float


def estimates(values: Vector, weights: Vector, users: Rows) -> list[Estimate]:
    """
    Return the weighted mean of each column of *values*, shape (m, k), with its interval when users are drawn again.

    Args:
        values: One row an answer.
        weights: Shape (m,), what a row counts for.
        users: Shape (m,), whose answer it is; answers of one user are drawn together.
    """
    total = weights.sum()
    if total <= 0:
        return [Estimate(0.0, 0.0, 0.0) for _ in range(values.shape[1])]
    _, unit = np.unique(users, return_inverse=True)
    units = int(unit.max()) + 1
    scaled = values * (weights * units / total)[:, None]
    by_user = np.column_stack([np.bincount(unit, column, minlength=units).astype(np.float64) for column in scaled.T])
    low, high = bootstrap_intervals(by_user)
    means = by_user.mean(axis=0)
    return [Estimate(*(round(float(each), 4) for each in ends)) for ends in zip(means, low, high, strict=True)]


def users_of(answers: LoggedAnswers) -> Rows:
    """Return a number for the user of each answer, shape (m,); an answer for nobody counts as a user of its own."""
    numbers: dict[str, int] = {}
    named = [-1 if user is None else numbers.setdefault(user, len(numbers)) for user in answers.user_ids]
    users = np.array(named, dtype=np.int64)
    nobody = users < 0
    users[nobody] = len(numbers) + np.arange(int(nobody.sum()))
    return users


def _discount(places: Rows) -> Vector:
    return np.where(places <= CUT_OFF, 1 / np.log2(places + 1.0), 0.0)


def _ideal_places(answer: Rows, gains: Vector) -> Rows:
    """The place of each click when those of its answer stand by gain, from 1; clicks lie answer after answer."""
    order = np.lexsort((-gains, answer))
    _, first, counts = np.unique(answer, return_index=True, return_counts=True)
    places = np.empty(len(answer), dtype=np.int64)
    places[order] = np.arange(len(answer)) - np.repeat(first, counts) + 1
    return places
