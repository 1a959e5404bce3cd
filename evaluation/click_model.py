"""
Which weights explain what users clicked: a choice model over the ranker's own score.

Of the products that an answer showed, a click falls on product i with a probability in proportion to
``examined(rank i) * exp(steepness * score i)``, where the score is the one that serves: a weighted mean of the features
that a candidate has, by the weights of its category. All are fitted together by maximum likelihood.

Source:
    McFadden, "Conditional logit analysis of qualitative choice behavior", 1974, for the choice; Richardson, Dominowska,
    Ragno, "Predicting clicks", 2007, for the examination of ranks; Joachims, Swaminathan, Schnabel, "Unbiased
    learning-to-rank with biased feedback", 2017, for its form ``rank ** -position_bias``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize

from evaluation.logged_answers import LoggedAnswers, Rows, Vector
from ranking.config import FEATURES, RankingConfig, Weights

LEAST_WEIGHT = 0.001
"""No feature's share falls below it: a candidate that has that feature alone must still have an order."""

DECIMALS = 4
_LOG_STEEPNESS = (np.log(0.1), np.log(1000.0))
MOST_BIAS = 3.0
_TRIES = 500


@dataclass(frozen=True)
class ClickModel:
    """
    What was fitted.

    Args:
        config: The configuration with its new weights; each set adds up to 1.
        steepness: How much likelier a click becomes with the score.
        position_bias: Eta of ``rank ** -eta``, how likely a rank is looked at.
        categories: Those that have weights of their own because they were fitted.
        expected: Shape (n,): how many clicks the model expects on each row.
    """

    config: RankingConfig
    steepness: float
    position_bias: float
    categories: tuple[str, ...]
    expected: Vector


def fit_click_model(
    answers: LoggedAnswers,
    present: RankingConfig,
    *,
    categories: Sequence[str] = (),
    caution: float = 100.0,
    fixed: bool = False,
) -> ClickModel:
    """
    Return the weights that explain the clicks of *answers* best.

    A feature that no product of a set has in *answers* keeps its share: clicks say nothing of it.

    Args:
        answers: At least one with a click and more than one product; others say nothing.
        present: Where the weights come from and are drawn to.
        categories: That get weights of their own, drawn to their present ones, else to the new weights of all.
        caution: How strongly: a squared distance of 1 between weights that add up to 1 costs as much as ``caution / 2``
            in log likelihood.
        fixed: Whether to keep the weights and fit the rest alone.
    """
    problem = _Problem(answers, present, tuple(categories), caution)
    start = np.concatenate([problem.start.ravel(), [np.log(10.0), 1.0]])
    bounds = [(each, each) if fixed else (LEAST_WEIGHT, 10.0) for each in problem.start.ravel()]
    found = optimize.minimize(
        problem.cost_and_slope,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=[*bounds, _LOG_STEEPNESS, (0.0, MOST_BIAS)],
        options={"maxiter": _TRIES, "ftol": 1e-12, "gtol": 1e-8},
    )
    weights, steepness, position_bias = problem.parts(found.x)
    fitted = [_rounded(row) for row in problem.shares(weights)]
    others = {name: each for name, each in present.category_weights.items() if name not in categories}
    config = present.model_copy(
        update={
            "weights": fitted[0],
            "category_weights": {**others, **dict(zip(categories, fitted[1:], strict=True))},
        }
    )
    return ClickModel(
        config=present if fixed else config,
        steepness=round(steepness, DECIMALS),
        position_bias=round(position_bias, DECIMALS),
        categories=tuple(categories),
        expected=problem.expected(found.x),
    )


class _Problem:
    """Cost and slope of parameters: the sets of weights row by row (those of all first), log steepness, eta."""

    def __init__(
        self, answers: LoggedAnswers, present: RankingConfig, categories: tuple[str, ...], caution: float
    ) -> None:
        self._starts = answers.starts[:-1]
        self._answer = answers.answer_of
        self._clicked = answers.clicked.astype(np.float64)
        self._clicks = np.add.reduceat(self._clicked, self._starts)
        self._log_rank = np.log(answers.ranks.astype(np.float64))
        table = np.column_stack([answers.features[name] for name in FEATURES])
        self._present = ~np.isnan(table)
        self._features = np.where(self._present, table, 0.0)
        own = {name: row for row, name in enumerate(categories, start=1)}
        others = {name for name in present.category_weights if name not in own}
        kept = {name: len(own) + 1 + row for row, name in enumerate(sorted(others))}
        sets = own | kept
        self._set: Rows = np.array([sets.get(each, 0) if each else 0 for each in answers.categories], dtype=np.int64)
        self._fixed_sets = np.array([_shares(present.category_weights[name]) for name in sorted(others)]).reshape(-1, 4)
        all_products = _shares(present.weights)
        self._own_prior = [
            _shares(present.category_weights[name]) if name in present.category_weights else None for name in categories
        ]
        self.start = np.array([all_products, *(all_products if each is None else each for each in self._own_prior)])
        self.start = np.maximum(self.start, LEAST_WEIGHT)
        self._caution = caution

    def parts(self, parameters: Vector) -> tuple[Vector, float, float]:
        """The sets of weights, shape (k, features), the steepness and the position bias."""
        return parameters[:-2].reshape(self.start.shape), float(np.exp(parameters[-2])), float(parameters[-1])

    def shares(self, weights: Vector) -> Vector:
        """
        The sets of weights, each adding up to 1.

        Where no row has a feature the score is the same whatever its weight and however large the others together are.
        """
        found: Vector = weights / weights.sum(axis=1, keepdims=True)
        for row, each in enumerate(weights):
            prior = None if row == 0 else self._own_prior[row - 1]
            kept = self.start[0] if row == 0 else found[0] if prior is None else prior
            rows = self._set == row if row else np.full(len(self._set), fill_value=True)
            unseen = ~self._present[rows].any(axis=0)
            found[row, unseen] = kept[unseen]
            if not unseen.all():
                found[row, ~unseen] = each[~unseen] / each[~unseen].sum() * (1 - kept[unseen].sum())
        return found

    def expected(self, parameters: Vector) -> Vector:
        """How many clicks are expected on each row, given how many its answer got."""
        weights, steepness, position_bias = self.parts(parameters)
        score, _ = self._scores(weights)
        return self._clicks[self._answer] * self._choice(steepness * score - position_bias * self._log_rank)[0]

    def cost_and_slope(self, parameters: Vector) -> tuple[float, Vector]:
        """The negative log likelihood a click with what the distance from the present weights costs, and its slope."""
        weights, steepness, position_bias = self.parts(parameters)
        score, whole = self._scores(weights)
        choice, log_total = self._choice(steepness * score - position_bias * self._log_rank)
        utility = steepness * score - position_bias * self._log_rank
        cost = float(self._clicks @ log_total - self._clicked @ utility)
        excess = self._clicks[self._answer] * choice - self._clicked
        each = steepness * excess[:, None] * self._present * (self._features - score[:, None]) / whole[:, None]
        slope = np.column_stack(
            [np.bincount(self._set, column, minlength=len(weights))[: len(weights)] for column in each.T]
        )
        distance, pull = self._distance(weights)
        rest = [steepness * float(excess @ score), -float(excess @ self._log_rank)]
        # Weakly, so that there is a single best point where the clicks leave these two open.
        off = np.array([parameters[-2] - np.log(10.0), position_bias - 1.0])
        cost += self._caution * distance / 2 + float(off @ off) / 2
        slopes = np.concatenate([(slope + self._caution * pull).ravel(), np.array(rest) + off])
        clicks = max(1.0, float(self._clicks.sum()))
        return cost / clicks, slopes / clicks

    def _scores(self, weights: Vector) -> tuple[Vector, Vector]:
        """The score of each row, and what the weights of its present features add up to."""
        counted = np.vstack([weights, self._fixed_sets])[self._set] * self._present
        whole = np.maximum(counted.sum(axis=1), LEAST_WEIGHT)
        return (counted * self._features).sum(axis=1) / whole, whole

    def _choice(self, utility: Vector) -> tuple[Vector, Vector]:
        """How likely a click of its answer falls on each row; and the log of the sum of exponents by answer."""
        highest = np.maximum.reduceat(utility, self._starts)
        raised = np.exp(utility - highest[self._answer])
        total = np.add.reduceat(raised, self._starts)
        return raised / total[self._answer], highest + np.log(total)

    def _distance(self, weights: Vector) -> tuple[float, Vector]:
        """The squared distance of the weights from what they are drawn to, and half its slope."""
        pull = np.zeros_like(weights)
        pull[0] = weights[0] - self.start[0]
        squared = float(pull[0] @ pull[0])
        for row, prior in enumerate(self._own_prior, start=1):
            off = weights[row] - (weights[0] if prior is None else prior)
            squared += float(off @ off)
            pull[row] += off
            if prior is None:
                pull[0] -= off
        return squared, pull


def _shares(weights: Weights) -> Vector:
    values = np.array([weights.of(name) for name in FEATURES])
    return np.asarray(values / values.sum())


def _rounded(row: Vector) -> Weights:
    """The weights of one set, adding up to 1 but for rounding."""
    shares = np.maximum(row / row.sum(), LEAST_WEIGHT)
    return Weights(**{name: round(float(each), DECIMALS) for name, each in zip(FEATURES, shares, strict=True)})
