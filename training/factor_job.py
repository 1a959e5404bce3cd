"""The fit as the job sees it: interactions to the workers of a Ray Train run, factors back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from evaluation.metrics import SparseMatrix
from training.als import AlsSettings, FloatMatrix
from training.blocks import row_blocks, row_bounds
from training.factor_run import CheckpointParts, train_factors
from training.holdout import Holdout, als_metrics, baseline_metrics
from training.interactions import Interactions
from training.run import run_config, several_workers, trained

RESTARTS = 3
"""How often the workers of a run are started anew after one was lost."""


@dataclass(frozen=True)
class FittedFactors:
    """
    What a run brought.

    Args:
        users: float32, shape (users, factors).
        items: float32, shape (items, factors).
        workers: By rank: seconds, interactions and bytes.
    """

    users: FloatMatrix
    items: FloatMatrix
    workers: list[dict[str, Any]]


@contextmanager
def fitted(
    interactions: Interactions,
    settings: AlsSettings,
    *,
    version: str,
    runs: str,
    workers: int,
    cpus: int,
    checkpoint_every_s: float,
) -> Iterator[tuple[Path, FittedFactors]]:
    """
    Fit in a Ray Train run; yield an empty directory for the version's files, and the factors.

    Args:
        interactions: All there are.
        settings: How to fit.
        version: Names the run.
        runs: Where Ray Train keeps it.
        workers: How many processes share the rows; the factors are the same within rounding.
        cpus: Of each.
        checkpoint_every_s: Least seconds between two checkpoints.

    Raises:
        RunFailed: the run came to no end.
    """
    by_user = interactions.matrix()
    users = _Side(by_user, workers)
    items = _Side(by_user.T.tocsr(), workers)
    del by_user
    trainer = DataParallelTrainer(
        train_factors,
        train_loop_config={
            "users": users.references,
            "items": items.references,
            "user_bounds": users.bounds,
            "item_bounds": items.bounds,
            "entries": {"users": users.entries, "items": items.entries},
            "settings": settings.as_parameters(),
            "threads": cpus,
            "checkpoint_every_s": checkpoint_every_s,
        },
        scaling_config=several_workers(workers, cpus=cpus),
        # Ray's annotation names the class it replaces at run time.
        run_config=run_config(version, runs, restarts=RESTARTS),  # type: ignore[arg-type]
    )
    with trained(trainer) as (checkpoint, _), TemporaryDirectory() as directory:
        parts = CheckpointParts(checkpoint, workers)
        yield Path(directory), FittedFactors(parts.factors("users"), parts.factors("items"), parts.reports())


def measured(
    holdout: Holdout, settings: AlsSettings, tried: dict[str, float] | None, *, learned: bool, cpus: int
) -> dict[str, float]:
    """
    Return the metrics of *settings* on a hold-out, and those of the baselines; computed by the cluster.

    Args:
        holdout: What to fit to and to ask for.
        settings: How to fit.
        tried: The metrics where a search has them already.
        learned: Whether to fit item-kNN and BPR too; popularity is always there.
        cpus: That the work takes.
    """

    def work(cut: Holdout) -> dict[str, float]:
        found = tried if tried is not None else als_metrics(cut, settings, threads=cpus)
        return found | baseline_metrics(cut, learned=learned, threads=cpus) | {"holdout_users": len(cut.users)}

    metrics: dict[str, float] = ray.get(ray.remote(num_cpus=cpus)(work).remote(ray.put(holdout)))
    return metrics


class _Side:
    """The rows of a matrix, cut into blocks that lie in the object store."""

    def __init__(self, matrix: SparseMatrix, workers: int) -> None:
        self.bounds = row_bounds(matrix, workers)
        self.entries: list[int] = []
        self.references = []
        for block in row_blocks(matrix, self.bounds):
            self.entries.append(len(block[1]))
            self.references.append(ray.put(block))
