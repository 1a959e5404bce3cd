"""What a weights job found, and why: old and new weights, figures before and after, what the clicks pulled at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.click_metrics import NAMES
from evaluation.click_model import DECIMALS, ClickModel
from evaluation.logged_answers import LoggedAnswers, Vector
from evaluation.replay import Compared, Figure
from ranking.config import FEATURES, RankingConfig

_LABELS = dict(zip(NAMES, ("NDCG@10", "MRR"), strict=True))
MOVED = 0.02
"""A share that changed by less stayed where it was."""


@dataclass(frozen=True)
class FeatureMove:
    """
    What became of one weight.

    Args:
        feature: One of ``FEATURES``.
        old: Its share of the present weights.
        new: Its share of the fitted ones.
        clicked: The feature's mean over the clicked products that have it; None where none has.
        expected: The mean that the present weights expect of clicks on the same answers, position counted in.
    """

    feature: str
    old: float
    new: float
    clicked: float | None
    expected: float | None

    @property
    def reason(self) -> str:
        """Why, in words."""
        if self.clicked is None or self.expected is None:
            return "no clicked product has it"
        off = self.clicked - self.expected
        than = f"{abs(off):.3f} {'more' if off >= 0 else 'less'} of it than the present weights expect"
        said = f"clicked products had {than}"
        change = self.new - self.old
        return said if abs(change) < MOVED or (off >= 0) == (change >= 0) else f"{said}; other features explain that"


@dataclass(frozen=True)
class WeightSet:
    """The weights of one category, or of all others: ``category`` None."""

    category: str | None
    clicks: int
    moves: tuple[FeatureMove, ...]


@dataclass(frozen=True)
class WeightsReport:
    """
    All there is to say.

    Args:
        kept: Whether the fitted weights are better.
        why: In words.
        present: The configuration in use.
        fitted: The configuration with the fitted weights.
        position_bias: Eta of ``rank ** -eta``, fitted.
        steepness: How much likelier a click becomes with the score, fitted.
        split_at: Seconds since 1970: answers shown later judged, the others were learned from.
        counts: Answers, clicks and categories.
        sets: Old and new weights, those of all products first.
        overall: Figures on the newer answers, the present weights first.
        by_category: The same of the clicks on each category that has weights of its own.
    """

    kept: bool
    why: str
    present: RankingConfig
    fitted: RankingConfig
    position_bias: float
    steepness: float
    split_at: float
    counts: dict[str, int]
    sets: list[WeightSet]
    overall: Compared
    by_category: list[Compared]


def verdict(overall: Compared) -> tuple[bool, str]:
    """Return whether the second order is better than the first beyond chance, and why or why not."""
    ndcg, mrr = (overall.weighted[name].difference for name in NAMES)
    interval = f"{ndcg.mean:+.4f} ({ndcg.low:+.4f} to {ndcg.high:+.4f})"
    if ndcg.low > 0 and mrr.mean >= 0:
        return True, f"kept: NDCG@10 of the newer clicks is better by {interval}"
    if ndcg.low > 0:
        return False, f"not kept: NDCG@10 is better by {interval}, but MRR changes by {mrr.mean:+.4f}"
    chance = "no better than chance allows" if ndcg.high >= 0 else "worse"
    return False, f"not kept: NDCG@10 of the newer clicks is {chance}, {interval}"


def explained_sets(answers: LoggedAnswers, before: ClickModel, after: ClickModel) -> list[WeightSet]:
    """Return old and new weights of all products and of each category, with what pulled at them."""
    categories = np.array([each if each in after.categories else "" for each in answers.categories], dtype=np.str_)
    return [_explained(answers, categories == (name or ""), before, after, name) for name in (None, *after.categories)]


def lines(report: WeightsReport) -> list[str]:
    """Return the report as lines of text."""
    counts = report.counts
    judged = (
        f"learned from {counts['clicks_learned_from']:,} clicks, judged by {counts['clicks_judged_by']:,} newer ones"
    )
    told = [
        f"{judged}; position bias {report.position_bias:.2f}, steepness {report.steepness:.1f}",
        f"  {'':24} {'clicks':>7}  " + "  ".join(f"{name:>16}" for name in FEATURES),
    ]
    for each in report.sets:
        name = each.category or ("all others" if len(report.sets) > 1 else "all products")
        shares = "  ".join(f"{f'{move.old:.3f} -> {move.new:.3f}':>16}" for move in each.moves)
        told.append(f"  {name[:24]:24} {each.clicks:>7,}  {shares}")
    for each in report.sets:
        for move in each.moves:
            if abs(move.new - move.old) >= MOVED:
                direction = "up" if move.new > move.old else "down"
                told.append(f"  {each.category or 'all others'}: {move.feature} {direction}: {move.reason}")
    told.append(
        f"  {'newer clicks':24} {'clicks':>7}  {'before':>7}  {'after':>7}  difference (95 % interval over users)"
    )
    for compared in (report.overall, *report.by_category):
        told += [_figure_line(compared, name, compared.weighted[name], "") for name in NAMES]
    told += [_figure_line(report.overall, name, report.overall.plain[name], ", every click alike") for name in NAMES]
    return [*told, report.why]


def _figure_line(compared: Compared, metric: str, figure: Figure, remark: str) -> str:
    difference = figure.difference
    return (
        f"  {f'{compared.part[:15]} {_LABELS[metric]}':24} {compared.clicks:>7,}  {figure.first.mean:7.4f}  "
        f"{figure.second.mean:7.4f}  {difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}){remark}"
    )


def _explained(
    answers: LoggedAnswers, rows: Vector, before: ClickModel, after: ClickModel, category: str | None
) -> WeightSet:
    old, new = (
        (config.category_weights.get(category) if category else None) or config.weights
        for config in (before.config, after.config)
    )
    sums = [sum(weights.of(name) for name in FEATURES) for weights in (old, new)]
    moves = []
    for name in FEATURES:
        values = answers.features[name]
        there = rows & ~np.isnan(values)
        moves.append(
            FeatureMove(
                feature=name,
                old=round(old.of(name) / sums[0], DECIMALS),
                new=round(new.of(name) / sums[1], DECIMALS),
                clicked=_mean(values[there], answers.clicked[there].astype(np.float64)),
                expected=_mean(values[there], before.expected[there]),
            )
        )
    return WeightSet(category, int(answers.clicked[rows].sum()), tuple(moves))


def _mean(values: Vector, weights: Vector) -> float | None:
    total = float(weights.sum())
    return round(float(values @ weights) / total, DECIMALS) if total > 0 else None
