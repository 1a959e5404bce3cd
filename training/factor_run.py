"""The collaborative run as its Ray Train worker sees it."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from ray.train import Checkpoint, report

from artifacts.factors import Factors
from training.als import AlsSettings, cf_transform, fit_factors, holdout_metrics
from training.interactions import Interactions, event_counts_of


def train_factors(config: dict[str, Any]) -> None:
    """
    Fit factors and report them, with their metrics, as the run's checkpoint.

    Args:
        config: ``interactions`` and ``event_counts``, references to tables with `INTERACTION_COLUMNS` and
            `EVENT_COUNT_COLUMNS`, and ``settings``, the fields of `AlsSettings`.
    """
    settings = AlsSettings(**config["settings"])
    interactions = Interactions.from_table(ray.get(config["interactions"]))
    started = time.monotonic()
    metrics = holdout_metrics(interactions, settings)
    held_out = time.monotonic()
    user_factors, item_factors = fit_factors(interactions.matrix(), settings)
    transform, saturated = cf_transform(user_factors, item_factors, seed=settings.seed)
    fitted = time.monotonic()
    factors = Factors(
        interactions.user_ids,
        interactions.item_ids,
        user_factors,
        item_factors,
        regularization=settings.regularization,
        alpha=settings.alpha,
        event_counts=event_counts_of(interactions.user_ids, ray.get(config["event_counts"])),
    )
    with tempfile.TemporaryDirectory() as directory:
        factors.save(Path(directory))
        report(
            {
                "metrics": metrics | {"cf_saturated": saturated},
                "counts": {
                    "users": len(interactions.user_ids),
                    "items": len(interactions.item_ids),
                    "interactions": len(interactions),
                },
                "cf_transform": transform,
                "seconds": {"holdout": round(held_out - started, 3), "fit": round(fitted - held_out, 3)},
            },
            checkpoint=Checkpoint.from_directory(directory),
        )
