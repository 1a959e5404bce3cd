"""One Ray Train run whose checkpoint is the artifact."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from pyarrow import fs as arrow_fs
from ray.train import Checkpoint
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.train.v2.api.exceptions import TrainingFailedError

from training.errors import ClusterNotFound, RunFailed

Report = dict[str, Any]
_ANSWERS_WITHIN_S = 10.0


def connect() -> None:
    """
    Connect to the Ray cluster that this job was submitted to.

    Raises:
        ClusterNotFound: none answers.
    """
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS")
    _require_answer(address)
    # Where two clusters share a machine, Ray's own actors find this one by the variable alone.
    environment = {"env_vars": {"RAY_ADDRESS": address}} if address else {}
    try:
        ray.init(address="auto", logging_level=logging.WARNING, runtime_env=environment)
    except ConnectionError as error:
        raise _not_found(address) from error


def _require_answer(address: str | None) -> None:
    """Refuse an address at which nothing listens: Ray would try it for five minutes."""
    host, _, port = (address or "").rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN_S).close()
    except OSError as error:
        raise _not_found(address) from error


def _not_found(address: str | None) -> ClusterNotFound:
    return ClusterNotFound(
        f"No Ray cluster answers at {address or 'this machine'}. "
        "Submit the job with `ray job submit`, or set RAY_ADDRESS (and RAY_AUTH_TOKEN) to the training cluster's."
    )


def run_config(version: str, storage_path: str, *, restarts: int = 0) -> RunConfig:
    """A run named after the version it makes, kept below *storage_path*; failed workers are started anew so often."""
    return RunConfig(
        name=version,
        storage_path=storage_path,
        checkpoint_config=CheckpointConfig(num_to_keep=1),
        failure_config=FailureConfig(max_failures=restarts),
        logging_config=LoggingConfig(log_level="WARNING"),
    )


def several_workers(count: int, *, cpus: int) -> ScalingConfig:
    """As many workers on *cpus* CPUs each."""
    return ScalingConfig(num_workers=count, resources_per_worker={"CPU": cpus})


def workers_on(count: int, *, cpus: int, gpu: bool) -> ScalingConfig:
    """As `several_workers`; with *gpu* each has a GPU of its own too."""
    return ScalingConfig(
        num_workers=count, use_gpu=gpu, resources_per_worker={"CPU": cpus, **({"GPU": 1} if gpu else {})}
    )


def remove_run(storage_path: str, name: str) -> None:
    """Remove what a run left, if anything; one that cannot be removed is in nobody's way."""
    uri = storage_path if "://" in storage_path else Path(storage_path).as_uri()
    with suppress(OSError):
        filesystem, directory = arrow_fs.FileSystem.from_uri(uri)
        filesystem.delete_dir(f"{directory}/{name}")


def need_cpus(count: int) -> None:
    """
    Refuse to start a run that would wait for ever.

    Raises:
        ClusterNotFound: the cluster has fewer CPUs than the run takes at once.
    """
    cpus = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
    if cpus < count:
        raise ClusterNotFound(
            f"The cluster has {cpus:g} CPUs, this job needs {count}. Start it with --num-cpus={count}."
        )


def finished(trainer: DataParallelTrainer) -> tuple[Checkpoint, Report]:
    """
    Run *trainer* to its end; return its newest checkpoint and what was reported with it.

    Raises:
        RunFailed: the run failed, or reported no checkpoint.
    """
    try:
        result = trainer.fit()
    except TrainingFailedError as error:
        raise RunFailed(f"{error} The run's directory is {trainer.run_config.storage_path}.") from error
    if result.checkpoint is None or result.metrics is None:
        raise RunFailed(f"The run in {result.path} reported no checkpoint.")
    return result.checkpoint, result.metrics


@contextmanager
def trained(trainer: DataParallelTrainer) -> Iterator[tuple[Path, Report]]:
    """As `finished`, with the directory of the checkpoint."""
    checkpoint, metrics = finished(trainer)
    with checkpoint.as_directory() as directory:
        yield Path(directory), metrics
