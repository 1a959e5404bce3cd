"""A training job on a Ray cluster, followed to its end."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from cluster.errors import ClusterError, JobUnknown, NoAnswer, TrainingFailed
from cluster.ray_api import RayApi

# Each is a module of training/; in this order, because the later ones take longer.
JOBS = ("popularity", "collaborative", "embeddings")
# Run only when named. Without clicks on answers there is nothing for `weights` to learn from.
BY_NAME_ONLY = ("snapshot", "weights", "encoder", "pipeline")
ENDED = {"SUCCEEDED", "FAILED", "STOPPED"}
POLL_S = 0.5
PATIENCE_S = 120.0
"""How long a cluster that does not answer is waited for: it may be too busy, or be started again."""
SHOWN_LINES = 30

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PROCESS_NAME = re.compile(r"^\([\w.:]+ pid=\d+(?:, ip=[\d.]+)?\)\s*")
_RAY_LOG = re.compile(r"\b(?:core_worker\.cc|job_manager\.py|worker\.py):\d+|^\[[\d\-:, ]+ [IWEC] \d+")


Answer = TypeVar("Answer")


@dataclass(frozen=True)
class TrainingResult:
    """What a job ended with: its last line of JSON, and how long it took."""

    job: str
    submission_id: str
    seconds: float
    result: dict[str, Any]


def train(api: RayApi, job: str, *, follow: Callable[[str], None], arguments: Sequence[str] = ()) -> TrainingResult:
    """
    Run ``python -m training.<job>`` on the cluster and return what it printed last.

    Args:
        api: The training cluster; the project is on its PYTHONPATH.
        job: One of `JOBS` or `BY_NAME_ONLY`.
        follow: Called with each line that the job prints.
        arguments: Flags of the job.

    Raises:
        TrainingFailed: the job failed; the message holds the end of its log.
        NoAnswer: the cluster stayed away for `PATIENCE_S`.
    """
    began = time.monotonic()
    _patiently(api.version, follow)
    submission = api.submit(
        shlex.join(["python", "-m", f"training.{job}", *arguments]), runtime_env={}, metadata={"shortlist_job": job}
    )
    shown = 0
    try:
        while True:
            state = _patiently(partial(api.job, submission), follow)
            lines = _patiently(partial(api.job_logs, submission), follow).splitlines()
            for line in lines[shown:]:
                if words := readable(line):
                    follow(words)
            shown = len(lines)
            if state["status"] in ENDED:
                break
            time.sleep(POLL_S)
    except JobUnknown as error:
        raise TrainingFailed(
            f"The training cluster was started again and has forgotten the {job} job: run it again."
        ) from error
    except BaseException:
        with contextlib.suppress(ClusterError):
            api.stop_job(submission)
        raise
    if state["status"] != "SUCCEEDED":
        end = "\n".join(lines[-SHOWN_LINES:])
        raise TrainingFailed(f"The {job} job {state['status'].lower()}: {state.get('message') or ''}\n{end}")
    return TrainingResult(job, submission, round(time.monotonic() - began, 2), last_json(lines))


def _patiently(ask: Callable[[], Answer], follow: Callable[[str], None]) -> Answer:
    """What is asked for, as soon as the cluster answers at all; *follow* is told that it is waited for."""
    until, told = time.monotonic() + PATIENCE_S, False
    while True:
        try:
            return ask()
        except NoAnswer as error:
            if time.monotonic() > until:
                raise
            if not told:
                follow(f"{error}; trying for {PATIENCE_S:g} s")
                told = True
            time.sleep(POLL_S)


def readable(line: str) -> str:
    """Return what a job said on *line*, without colours and process names; nothing for Ray's own log lines."""
    words = _PROCESS_NAME.sub("", _COLOUR.sub("", line)).strip()
    return "" if _RAY_LOG.search(words) else words


def last_json(lines: list[str]) -> dict[str, Any]:
    """Return the last line that is a JSON object, or an empty one."""
    for line in reversed(lines):
        if line.strip().startswith("{"):
            try:
                document = json.loads(line)
            except ValueError:
                continue
            if isinstance(document, dict):
                return document
    return {}
