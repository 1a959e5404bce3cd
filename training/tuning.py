"""A search for settings with Ray Tune, on a hold-out."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

import ray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator
from ray import tune
from ray.tune.search import BasicVariantGenerator

from evaluation.metrics import MEASURES
from training.als import AlsSettings
from training.errors import RunFailed
from training.holdout import Holdout, als_metrics
from training.progress import say

_REPORTED = {*MEASURES, "seconds"}
Trial = dict[str, Any]
"""The settings of one trial, its metrics, and ``seconds``."""


class Span(BaseModel):
    """Where a number is drawn from, evenly by its logarithm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: PositiveFloat
    high: PositiveFloat

    @model_validator(mode="after")
    def _in_order(self) -> Span:
        if self.low >= self.high:
            raise ValueError(f"low is {self.low}, high {self.high}")
        return self


class SearchSpace(BaseModel):
    """What is tried: one of a list, or anything between two ends."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factors: list[PositiveInt] = Field(default=[32, 64, 96, 128, 192, 256], min_length=1)
    alpha: Span = Span(low=1, high=100)
    regularization: Span = Span(low=1, high=300)
    iterations: list[PositiveInt] = Field(default=[8, 12, 16, 24], min_length=1)

    def as_tune(self) -> dict[str, Any]:
        """The same in the words of Ray Tune."""
        return {
            "factors": tune.choice(self.factors),
            "alpha": tune.loguniform(self.alpha.low, self.alpha.high),
            "regularization": tune.loguniform(self.regularization.low, self.regularization.high),
            "iterations": tune.choice(self.iterations),
        }


def search(
    holdout: Holdout,
    start: AlsSettings,
    space: SearchSpace,
    *,
    trials: int,
    metric: str,
    cpus: int,
    storage: str,
    name: str,
) -> tuple[AlsSettings, list[Trial]]:
    """
    Return the settings that found the most, and all that was tried, best first.

    Args:
        holdout: What each trial fits to, and is asked for.
        start: Tried first; its seed is that of all trials, and of the search.
        space: What the other trials draw from.
        trials: How many.
        metric: One of `evaluation.metrics.MEASURES`; the settings with the largest mean win.
        cpus: Of a trial; as many trials run side by side as the cluster has CPUs for.
        storage: Where Ray Tune keeps its records: a directory or URI.
        name: Of the search, a directory below *storage*.

    Raises:
        RunFailed: no trial came to its end.
    """
    where = ray.put(holdout)
    fixed = {key: value for key, value in asdict(start).items() if key != "seed"}

    def trial(config: dict[str, Any]) -> None:
        began = time.monotonic()
        settings = replace(start, **_rounded(config))
        metrics = als_metrics(ray.get(where), settings, threads=cpus)
        tune.report(metrics | {"seconds": round(time.monotonic() - began, 2)})

    say(f"searching: {trials} trials on {len(holdout.users)} users, by {metric}")
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": cpus}),
        param_space=space.as_tune(),
        tune_config=tune.TuneConfig(
            metric=metric,
            mode="max",
            num_samples=trials,
            search_alg=BasicVariantGenerator(points_to_evaluate=[fixed], random_state=start.seed),
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name=name, storage_path=storage, verbose=0),
    )
    results = tuner.fit()
    done = [
        _rounded(result.config) | {key: value for key, value in result.metrics.items() if key in _REPORTED}
        for result in (results[number] for number in range(len(results)))
        if result.error is None and result.metrics and metric in result.metrics and result.config
    ]
    if not done:
        raise RunFailed(f"None of {trials} trials came to its end: {results.errors[0] if results.errors else ''}")
    done.sort(key=lambda each: (-each[metric], each["factors"], each["iterations"]))
    best = replace(start, **{key: done[0][key] for key in fixed})
    return best, done


def as_table(log: list[Trial], *, most: int = 20) -> str:
    """The first *most* trials of a search, a line each."""
    rows = [list(log[0]), *([_shown(value) for value in trial.values()] for trial in log[:most])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _rounded(config: dict[str, Any]) -> Trial:
    """As it is tried and recorded: four significant digits say enough."""
    return {key: float(f"{value:.4g}") if isinstance(value, float) else int(value) for key, value in config.items()}


def _shown(value: object) -> str:
    return (
        f"{value:.4f}"
        if isinstance(value, float) and value < 1
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
