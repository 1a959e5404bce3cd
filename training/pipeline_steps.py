"""The jobs of the pipeline, in order of dependency, and one run of each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

SNAPSHOT = "snapshot"
WEIGHTS = "weights"
Outcome = Literal["made", "up to date", "skipped", "failed", "not run"]


@dataclass(frozen=True)
class Step:
    """
    One job.

    Attributes:
        name: It is ``python -m training.<name>``.
        needs: Steps before it without whose result it cannot do its work, where they are part of the run.
        reads_snapshot: It takes ``--snapshot``.
        unless_unchanged: What makes it keep what is up to date.
        anew: What makes it work though nothing changed.
        always: Further flags.
        opt_in: It runs only where the file has a section for it, be it ``{}``, or where it is named.
    """

    name: str
    needs: tuple[str, ...] = ()
    reads_snapshot: bool = False
    unless_unchanged: tuple[str, ...] = ()
    anew: tuple[str, ...] = ()
    always: tuple[str, ...] = ()
    opt_in: bool = False


STEPS = (
    Step(SNAPSHOT, anew=("--anew",)),
    Step("popularity", needs=(SNAPSHOT,), reads_snapshot=True, unless_unchanged=("--if-changed",)),
    # Embeddings take up what it kept, but do not need it.
    Step("encoder", needs=(SNAPSHOT,), reads_snapshot=True, unless_unchanged=("--if-changed",), opt_in=True),
    Step("embeddings", anew=("--anew",)),
    Step("collaborative", needs=(SNAPSHOT,), reads_snapshot=True, unless_unchanged=("--if-changed",)),
    # Answers and clicks are no part of a snapshot; it reads them from a replica.
    Step(WEIGHTS, unless_unchanged=("--if-changed",), always=("--if-enough",)),
)
"""A job that is added needs its line here, and a last line as `training.progress.conclude` prints it."""
NAMES = tuple(step.name for step in STEPS)


@dataclass(frozen=True)
class StepResult:
    """
    How one step ended.

    Attributes:
        result: The job's last line; empty where it did not come to that.
        note: The last thing that a failed job said, or why it was not run or had nothing to do.
    """

    step: str
    outcome: Outcome
    seconds: float = 0.0
    result: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether the run as a whole failed by it."""
        return self.outcome in {"failed", "not run"}


def run_step(step: Step, arguments: Sequence[str], section: Mapping[str, Any]) -> StepResult:
    """
    Run the job in a process of its own to its end, and pass on what it prints.

    Args:
        arguments: Of the command line.
        section: Flags by name; *arguments* count more.
    """
    began = time.monotonic()
    lines: list[str] = []
    with _command(step, arguments, section) as command:
        job = subprocess.Popen(  # noqa: S603  our own modules
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        try:
            assert job.stdout is not None
            for line in job.stdout:
                print(f"{step.name}: {line}", end="", flush=True)
                lines = [*lines[-20:], line.strip()]
            code = job.wait()
        finally:
            # Only where this process is told to end meanwhile.
            if job.poll() is None:
                job.terminate()
                job.wait()
    seconds = round(time.monotonic() - began, 1)
    result = _last_json(lines)
    if code or not result:
        said = [line for line in lines if line and not line.startswith("{")]
        note = said[-1] if said else f"exit code {code}"
        return StepResult(step.name, "failed", seconds, result, note)
    if why := result.get("skipped"):
        return StepResult(step.name, "skipped", seconds, result, str(why))
    return StepResult(step.name, "made" if result.get("changed", True) else "up to date", seconds, result)


def wrong_flags(step: Step, arguments: Sequence[str], section: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the flags of a job, without running it; None where nothing is."""
    with _command(step, [*arguments, "--check-flags"], section) as command:
        done = subprocess.run(  # noqa: S603  our own modules
            command, capture_output=True, text=True, errors="replace", check=False
        )
    if done.returncode == 0:
        return None
    last = next(iter(reversed(done.stderr.strip().splitlines())), f"exit code {done.returncode}")
    # The section lies in a file that nobody else knows.
    return re.sub(r"--config: \S+\.yaml: ", "", last.rpartition(": error: ")[2])


@contextmanager
def _command(step: Step, arguments: Sequence[str], section: Mapping[str, Any]) -> Iterator[list[str]]:
    """The command of a job whose section lies in a file meanwhile."""
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / f"{step.name}.yaml"
        config.write_text(yaml.safe_dump(dict(section)), encoding="utf-8")
        yield [sys.executable, "-m", f"training.{step.name}", f"--config={config}", *arguments]


def _last_json(lines: Sequence[str]) -> dict[str, Any]:
    for line in reversed(lines):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                return found
    return {}
