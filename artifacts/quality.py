"""Which figures of a version decide whether it may take the place of another: the one place that says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from artifacts.manifest import ArtifactKind, Manifest

BASELINE = "popularity_"
"""Before a metric's name: what the most popular products alone come to, measured in the same way."""
MARGIN = 0.05
"""By how much of the active version's figure a new one may be below it."""


@dataclass(frozen=True)
class Evaluation:
    """
    Figures that were measured together.

    Args:
        conditions: Names of `Manifest.parameters` that say how; figures compare only where all of them are equal.
        metrics: Names of `Manifest.metrics`; the higher, the better.
    """

    conditions: tuple[str, ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Floor:
    """A metric that must be at least so much, wherever a manifest has it."""

    metric: str
    least: float


EVALUATIONS: dict[ArtifactKind, tuple[Evaluation, ...]] = {
    "embeddings": (Evaluation(conditions=("model",), metrics=("cosine_mean", "overlap_at_10", "pairs_ndcg_at_10")),),
    "collaborative": (Evaluation(conditions=("holdout",), metrics=("ndcg_at_10", "recall_at_20")),),
    "popularity": (),
    "encoder": (Evaluation(conditions=("judged_by",), metrics=("ndcg_at_10",)),),
}
FLOORS: dict[ArtifactKind, tuple[Floor, ...]] = {
    # Of the ten nearest by exact search, the share that the index finds.
    "embeddings": (Floor("recall_at_10", 0.95),),
    "collaborative": (),
    "popularity": (),
    # Against the model that it was tuned from, on the same pairs.
    "encoder": (Floor("ndcg_at_10_gain", 0.0),),
}


@dataclass(frozen=True)
class Judgement:
    """One figure: what was found, with the numbers, and whether it lets the version pass."""

    metric: str
    detail: str
    passed: bool = True


def against_floors(manifest: Manifest) -> Iterator[Judgement]:
    """Yield what the floors say of *manifest*."""
    for floor in FLOORS[manifest.kind]:
        value = manifest.metrics.get(floor.metric)
        if value is not None:
            text = f"{value:.4f}, at least {floor.least:g} is needed"
            yield Judgement(floor.metric, text, passed=value >= floor.least)


def against_active(manifest: Manifest, active: Manifest, margin: float) -> Iterator[Judgement]:
    """
    Yield how the figures of *manifest* compare with those of *active*.

    Args:
        margin: The share of the active version's figure that may be missing.
    """
    for evaluation in EVALUATIONS[manifest.kind]:
        different = _different_condition(evaluation, manifest, active)
        known = [name for name in evaluation.metrics if name in manifest.metrics or name in active.metrics]
        for metric in known:
            # What was not measured at all cannot have been measured otherwise.
            if different is None or metric not in manifest.metrics:
                yield _compared(metric, manifest.metrics.get(metric), active.metrics.get(metric), margin)
            else:
                yield _beside_baseline(metric, manifest, f"not compared with {active.version}: {different}")


def _different_condition(evaluation: Evaluation, manifest: Manifest, active: Manifest) -> str | None:
    for name in evaluation.conditions:
        ours, theirs = manifest.parameters.get(name), active.parameters.get(name)
        if ours is None or theirs is None:
            return f"no word of `{name}` in one of them"
        if ours != theirs:
            return f"measured otherwise (`{name}` {ours}, there {theirs})"
    return None


def _beside_baseline(metric: str, manifest: Manifest, why: str) -> Judgement:
    """What stands in where the active version was measured otherwise: whether it is better than no model at all."""
    value, baseline = (manifest.metrics.get(name) for name in (metric, f"{BASELINE}{metric}"))
    if value is None or baseline is None:
        return Judgement(metric, why)
    text = f"{why}; {value:.4f} against {baseline:.4f} by popularity alone"
    return Judgement(metric, text, passed=value >= baseline)


def _compared(metric: str, value: float | None, active: float | None, margin: float) -> Judgement:
    if active is None:
        return Judgement(metric, "not compared: the active version lacks it")
    if value is None:
        return Judgement(metric, f"missing, the active version has {active:.4f}", passed=False)
    least = active - margin * abs(active)
    change = f" ({value / active - 1:+.1%})" if active else ""
    text = f"{value:.4f} against {active:.4f}{change}, at least {least:.4f} is needed"
    return Judgement(metric, text, passed=value >= least)
