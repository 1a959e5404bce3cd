"""
Two orders of the same logged answers compared by the clicks they got.

What was shown is all there is: products that an answer did not show cannot come up, and their clicks are unknown.
Clicks favour what stood high; each counts for the inverse of how likely its rank was looked at, which is estimated.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from evaluation.click_metrics import NAMES, Estimate, click_metrics, estimates, users_of
from evaluation.logged_answers import Chosen, LoggedAnswers, Rows, Vector

MOST_CATEGORIES = 10
LEAST_CLICKS = 20
"""A category with fewer is no part of its own."""

CAVEATS: tuple[str, ...] = (
    (
        "Only products that were shown are ordered anew: what an answer left out, and whether it would have been "
        "clicked, is unknown."
    ),
    (
        "Clicks favour what stood high. The first figures count each for the inverse of how likely its rank was looked "
        "at (rank ** -position_bias, estimated, 20-fold at most); `plain` counts all alike and favours the old order."
    ),
    "An answer of ten hits or fewer holds the same ten in any order: overlap_at_10 is then 1.",
    "It predicts; an A/B test measures.",
)


@dataclass(frozen=True)
class Figure:
    """One metric under both orders, and the difference, second less first, with its own interval."""

    first: Estimate
    second: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Compared:
    """
    Two orders over some of the clicks.

    Args:
        part: Which clicks.
        answers: That have one of them.
        clicks: How many.
        weighted: By the names of `NAMES`, clicks weighted against position bias.
        plain: The same, every click alike.
        overlap_at_10: Mean share of the first ten that both have.
        overlap_at_3: The same of the first three.
        rank_correlation: Mean Spearman correlation of the two orders, over answers of more than one product.
    """

    part: str
    answers: int
    clicks: int
    weighted: dict[str, Figure]
    plain: dict[str, Figure]
    overlap_at_10: float
    overlap_at_3: float
    rank_correlation: float


def compare(
    answers: LoggedAnswers,
    first: Rows,
    second: Rows,
    *,
    position_bias: float,
    part: str = "all",
    clicks: Chosen | None = None,
) -> Compared:
    """
    Compare two orders of *answers*.

    Args:
        answers: As logged.
        first: Places by one order, shape (n,); see `LoggedAnswers.ranked_by`.
        second: Places by the other.
        position_bias: See `evaluation.click_metrics.examined`.
        part: Its name.
        clicks: Which clicks count, shape (n,); None: all.
    """
    counted = answers if clicks is None else answers.with_clicks(answers.clicked & clicks)
    touched = np.bincount(counted.answer_of, counted.clicked, minlength=len(counted)) > 0
    same_10, same_3 = (_overlap(answers, first, second, depth) for depth in (10, 3))
    correlation = _spearman(answers, first, second)
    looked_at = touched if clicks is not None else np.ones(len(answers), dtype=np.bool_)
    return Compared(
        part=part,
        answers=int(touched.sum()),
        clicks=int(counted.clicked.sum()),
        weighted=_figures(counted, first, second, position_bias),
        plain=_figures(counted, first, second, 0.0),
        overlap_at_10=_mean(same_10[looked_at]),
        overlap_at_3=_mean(same_3[looked_at]),
        rank_correlation=_mean(correlation[looked_at & (answers.sizes > 1)]),
    )


def compare_parts(answers: LoggedAnswers, first: Rows, second: Rows, *, position_bias: float) -> list[Compared]:
    """Compare two orders over everything, then by endpoint, by whether a user was named, and by clicked category."""
    parts: dict[str, Chosen | None] = {"all": None}
    kinds, named = np.asarray(answers.kinds, dtype=np.str_), [user is not None for user in answers.user_ids]
    of_rows = answers.answer_of
    for kind in sorted(set(answers.kinds)):
        parts[kind] = (kinds == kind)[of_rows]
    parts["with a user"] = np.array(named, dtype=np.bool_)[of_rows]
    parts["without a user"] = ~np.array(named, dtype=np.bool_)[of_rows]
    for category in clicked_categories(answers, least=LEAST_CLICKS)[:MOST_CATEGORIES]:
        parts[f"category {category}"] = in_category(answers, category)
    made = [
        compare(answers, first, second, position_bias=position_bias, part=name, clicks=clicks)
        for name, clicks in parts.items()
    ]
    return [each for each in made if each.clicks or each.part == "all"]


def clicked_categories(answers: LoggedAnswers, *, least: int) -> list[str]:
    """Return the categories with at least *least* clicks, most clicked first, equal ones by name."""
    counts = Counter(
        category
        for category, clicked in zip(answers.categories, answers.clicked.tolist(), strict=True)
        if clicked and category
    )
    return sorted((name for name, count in counts.items() if count >= least), key=lambda name: (-counts[name], name))


def in_category(answers: LoggedAnswers, category: str) -> Chosen:
    """Return which rows show a product of *category*, shape (n,)."""
    return np.fromiter((each == category for each in answers.categories), np.bool_, len(answers.categories))


def _figures(answers: LoggedAnswers, first: Rows, second: Rows, position_bias: float) -> dict[str, Figure]:
    before = click_metrics(answers, first, position_bias=position_bias)
    after = click_metrics(answers, second, position_bias=position_bias)
    values = np.hstack([before.values, after.values, after.values - before.values])
    counts = before.weights > 0
    found = estimates(values[counts], before.weights[counts], users_of(answers)[counts])
    size = len(NAMES)
    return {
        name: Figure(found[column], found[size + column], found[2 * size + column]) for column, name in enumerate(NAMES)
    }


def _overlap(answers: LoggedAnswers, first: Rows, second: Rows, depth: int) -> Vector:
    both = np.bincount(answers.answer_of, (first <= depth) & (second <= depth), minlength=len(answers))
    return np.asarray(both / np.minimum(answers.sizes, depth))


def _spearman(answers: LoggedAnswers, first: Rows, second: Rows) -> Vector:
    size = answers.sizes.astype(np.float64)
    squared = np.bincount(answers.answer_of, (first - second).astype(np.float64) ** 2, minlength=len(answers))
    # Neither order has ties.
    return np.asarray(1 - 6 * squared / np.maximum(size * (size**2 - 1), 1))


def _mean(values: Vector) -> float:
    return round(float(values.mean()), 4) if len(values) else 0.0
