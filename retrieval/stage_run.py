"""Runs one stage of retrieval: a result or a cause, never an exception."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable
from typing import TypeVar

from artifacts.errors import ArtifactCorrupt, ArtifactMissing
from contracts.deadline import time_limit
from contracts.stages import Cause, Stage, StageName
from retrieval.threads import ThreadsBusy
from storage.errors import CircuitOpen, PoolTimeout, QueryTimeout, StorageError

Result = TypeVar("Result")

log = logging.getLogger(__name__)


async def run_stage(name: StageName, work: Awaitable[Result], *, timeout_s: float) -> tuple[Result | None, Stage]:
    """
    Return what *work* gave and its stage; or None and why it gave nothing.

    Args:
        name: The stage's name.
        work: What to await; cancelled when the time is up.
        timeout_s: Seconds it may take.

    Returns:
        The result with an ``ok`` stage without source, or None with a ``skipped`` stage and its cause. Cancellation
        passes through.
    """
    started = time.perf_counter()
    result: Result | None = None
    cause: Cause | None = None
    try:
        async with time_limit(timeout_s):
            result = await work
    except Exception as error:
        cause = cause_of(error)
        if cause == "unavailable" and not isinstance(error, StorageError):
            log.exception("stage %s failed", name)
    ms = round((time.perf_counter() - started) * 1000, 3)
    return result, Stage(name, status="ok" if cause is None else "skipped", cause=cause, ms=ms)


def cause_of(error: BaseException) -> Cause:
    """The cause, of the closed list, that *error* amounts to."""
    if isinstance(error, CircuitOpen):
        return "circuit_open"
    if isinstance(error, TimeoutError | QueryTimeout):
        return "timeout"
    if isinstance(error, ArtifactCorrupt):
        return "artifact_corrupt"
    if isinstance(error, ArtifactMissing):
        return "artifact_missing"
    if isinstance(error, PoolTimeout | ThreadsBusy):
        return "overloaded"
    return "unavailable"


def not_requested(name: StageName) -> Stage:
    """The stage of a part that the request did not ask for."""
    return Stage(name, status="skipped", cause="not_requested")
