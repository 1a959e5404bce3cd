"""The collaborative run as each of its Ray Train workers sees it."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.train import Checkpoint, get_checkpoint, get_context, report

from evaluation.peak_memory import PeakMemory
from training.als import AlsSettings, Block, BlockFit, FloatMatrix
from training.blocks import block_matrix
from training.factor_exchange import joined

_SAY_EVERY_S = 5.0
_SHARE_OF_TIME = 30
_ITERATION = "iteration.json"


def train_factors(config: dict[str, Any]) -> None:
    """
    Solve this worker's users and items round by round; report its factors as its part of the run's checkpoint.

    Args:
        config: ``users`` and ``items``, by rank references to the arrays of a block, ``user_bounds`` and
            ``item_bounds``, where the rows of each rank begin, and the end; ``settings``, the fields of
            `AlsSettings`; ``threads``; ``checkpoint_every_s``, the least time between two checkpoints.
    """
    started = time.monotonic()
    rank, workers = get_context().get_world_rank(), get_context().get_world_size()
    bounds = {"users": config["user_bounds"], "items": config["item_bounds"]}
    settings = AlsSettings(**config["settings"])
    with PeakMemory() as memory:
        users = _block(config["users"][rank], bounds["users"], rank, columns=bounds["items"][-1])
        items = _block(config["items"][rank], bounds["items"], rank, columns=bounds["users"][-1])
        began_fit, began_cpu = time.monotonic(), time.process_time()
        fit = BlockFit(users, items, settings, threads=config["threads"])
        _resume(fit, rank)
        first = fit.iteration
        clock = _Clock(config["checkpoint_every_s"], settings.iterations - first)

        def save(state: BlockFit) -> None:
            began = time.monotonic()
            _report(state, rank, {"iteration": state.iteration})
            clock.saved(time.monotonic() - began)

        def tell(iteration: int) -> None:
            clock.tell(iteration, settings.iterations, aloud=rank == 0)

        fit.run(joined(rank, workers, bounds), due=clock.due, save=save, tell=tell)
        ended, ended_cpu = time.monotonic(), time.process_time()
    found = {
        "seconds": round(ended - started, 3),
        "fit_seconds": round(ended - began_fit, 3),
        "fit_cpu_seconds": round(ended_cpu - began_cpu, 3),
        "first_iteration": first,
        "interactions": {"users": config["entries"]["users"][rank], "items": config["entries"]["items"][rank]},
        "bytes_before": memory.before,
        "bytes_at_peak": memory.peak,
    }
    _report(fit, rank, found)


class CheckpointParts:
    """
    The files by which the workers of a run tell each other, and the job, what they have.

    Args:
        directory: Of a whole checkpoint.
        workers: How many wrote it.
    """

    def __init__(self, directory: Path, workers: int) -> None:
        self._directory = directory
        self._workers = workers

    def factors(self, side: str) -> FloatMatrix:
        """The factors of all rows of *side*, ``users`` or ``items``, float32."""
        parts = [np.load(_part(self._directory, side, rank), mmap_mode="r") for rank in range(self._workers)]
        return np.concatenate(parts) if len(parts) > 1 else np.array(parts[0])

    def reports(self) -> list[dict[str, Any]]:
        """What each worker reported, by rank."""
        return [json.loads(_said(self._directory, rank).read_text(encoding="utf-8")) for rank in range(self._workers)]


class _Clock:
    """
    When to save, and when to say how far it is.

    Saving takes a thirtieth of the time at most, the first time excepted, and none shortly before the end.
    """

    def __init__(self, every_s: float, iterations: int) -> None:
        self._every_s = every_s
        self._left = iterations
        self._round_s = 0.0
        self._saved = self._said = self._began = self._told = time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._saved >= self._every_s <= self._left * self._round_s

    def saved(self, took_s: float) -> None:
        self._saved = self._told = time.monotonic()
        self._every_s = max(self._every_s, _SHARE_OF_TIME * took_s) if self._every_s else 0.0

    def tell(self, iteration: int, iterations: int, *, aloud: bool) -> None:
        now = time.monotonic()
        self._round_s, self._told, self._left = now - self._told, now, iterations - iteration
        if aloud and (now - self._said >= _SAY_EVERY_S or not self._left):
            print(f"round {iteration} of {iterations}, {self._round_s:.2f} s", flush=True)
            self._said = now


def _block(reference: Any, bounds: list[int], rank: int, *, columns: int) -> Block:  # noqa: ANN401  an object reference
    return Block(range(bounds[rank], bounds[rank + 1]), block_matrix(ray.get(reference), columns))


def _resume(fit: BlockFit, rank: int) -> None:
    """Go on where the last checkpoint of the run was made, if there is one."""
    checkpoint = get_checkpoint()
    if checkpoint is None:
        return
    with checkpoint.as_directory() as name:
        directory = Path(name)
        iteration = json.loads((directory / _ITERATION).read_text(encoding="utf-8"))
        fit.resume(iteration, *(np.load(_part(directory, side, rank)) for side in ("users", "items")))
    if rank == 0:
        print(f"going on after round {iteration}", flush=True)


def _report(fit: BlockFit, rank: int, metrics: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        np.save(_part(directory, "users", rank), fit.user_factors, allow_pickle=False)
        np.save(_part(directory, "items", rank), fit.item_factors, allow_pickle=False)
        _said(directory, rank).write_text(json.dumps(metrics), encoding="utf-8")
        if rank == 0:
            (directory / _ITERATION).write_text(json.dumps(fit.iteration), encoding="utf-8")
        report(metrics, checkpoint=Checkpoint.from_directory(directory))


def _part(directory: Path, side: str, rank: int) -> Path:
    return directory / f"{side}-{rank}.npy"


def _said(directory: Path, rank: int) -> Path:
    return directory / f"worker-{rank}.json"
