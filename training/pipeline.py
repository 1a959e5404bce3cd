"""
The pipeline: every training job in order of dependency, what is up to date left as it is.

Run it as ``ray job submit ... -- python -m training.pipeline --config pipeline.yaml``, every night. A step that fails
keeps back only those that need it; the run then ends with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.arguments import add_root, plain_parser, run_job
from training.config_file import parsed_flags
from training.errors import WrongInput
from training.pipeline_steps import NAMES, SNAPSHOT, STEPS, WEIGHTS, Step, StepResult, run_step, wrong_flags
from training.progress import Stopwatch, say
from training.snapshot_store import SnapshotStore

Sections = Mapping[str, Mapping[str, Any]]


def run(flags: argparse.Namespace, steps: Sequence[Step], sections: Sections) -> list[StepResult]:
    """
    Run *steps*, and say at the end how each of them ended.

    Raises:
        WrongInput: a job does not take its section; nothing was run.
    """
    watch = Stopwatch()
    problems = {step.name: wrong_flags(step, _arguments(step, flags, None), sections[step.name]) for step in steps}
    if said := [f"{name}: {problem}" for name, problem in problems.items() if problem]:
        raise WrongInput(f"Nothing was run. {'; '.join(said)}")
    results: list[StepResult] = []
    snapshot = None if flags.direct or steps[0].name == SNAPSHOT else _latest_snapshot(flags.root)
    for step in steps:
        missing = [each.step for each in results if each.step in step.needs and each.is_bad]
        if missing:
            results.append(StepResult(step.name, "not run", note=f"needs {' and '.join(missing)}"))
            continue
        say(f"{step.name} begins" + (f", on snapshot {snapshot}" if snapshot and step.reads_snapshot else ""))
        result = run_step(step, _arguments(step, flags, snapshot), sections[step.name])
        if step.name == SNAPSHOT and not result.is_bad:
            snapshot = result.result["version"]
        results.append(result)
    watch.lap("all")
    print(as_table(results), flush=True)
    _conclude(results, watch)
    return results


def chosen(
    only: Sequence[str] | None,
    first: str | None,
    *,
    direct: bool,
    wanted: Collection[str] = (),
    steps: Sequence[Step] = STEPS,
) -> list[Step]:
    """
    Return the steps of *only*, or those from *first* on, else all, in order of dependency.

    Args:
        only: Names; none stand for all.
        first: The name of the step to begin with.
        direct: Jobs read Postgres, so no snapshot is taken unless *only* says so.
        wanted: Names of steps that have a section in the file; an opt-in step runs only then, or where it is named.
        steps: All there are.
    """
    names = [step.name for step in steps]
    if only:
        return [step for step in steps if step.name in only]
    found = [step for step in steps if first is None or names.index(step.name) >= names.index(first)]
    found = [step for step in found if not step.opt_in or step.name in wanted or step.name == first]
    return [step for step in found if not (direct and step.name == SNAPSHOT)]


def as_table(results: Sequence[StepResult]) -> str:
    """One line a step: what came of it, the version, the seconds, and what was said where it failed."""
    rows = [("step", "outcome", "version", "seconds", "")]
    rows += [
        (each.step, each.outcome, str(each.result.get("version", "-")), f"{each.seconds:.1f}", each.note[:160])
        for each in results
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _arguments(step: Step, flags: argparse.Namespace, snapshot: str | None) -> list[str]:
    """The flags of the job that the pipeline decides on."""
    found = [f"--root={flags.root}", *step.always, *(step.anew if flags.anew else step.unless_unchanged)]
    if flags.serve_file is not None and step.name == WEIGHTS:
        found.append(f"--serve-file={flags.serve_file}")
    return [*found, f"--snapshot={snapshot}"] if snapshot and step.reads_snapshot else found


def _latest_snapshot(root: str) -> str | None:
    latest = SnapshotStore(root).latest()
    if latest is None:
        say("there is no snapshot; jobs read Postgres")
        return None
    return latest.version


def _conclude(results: Sequence[StepResult], watch: Stopwatch) -> None:
    outcomes = [each.outcome for each in results]
    steps = [
        {"step": each.step, "outcome": each.outcome, "seconds": each.seconds, "note": each.note, **each.result}
        | {"seconds": each.seconds}
        for each in results
    ]
    document = {
        "kind": "pipeline",
        "counts": {outcome: outcomes.count(outcome) for outcome in dict.fromkeys(outcomes)},
        "seconds": watch.seconds,
        "steps": steps,
        "changed": "made" in outcomes,
    }
    print(json.dumps(document), flush=True)


def _sections(flags: argparse.Namespace, parser: argparse.ArgumentParser) -> Sections:
    """Each job's own part of the file."""
    found = {name: getattr(flags, name) or {} for name in NAMES}
    for name, section in found.items():
        if not isinstance(section, dict):
            parser.error(f"--config: {name} does not hold flags by name")
    return found


def main() -> None:
    """Read the flags and run the jobs."""
    parser = plain_parser("training.pipeline", "Run the training jobs in order of dependency; skip what is up to date.")
    add_root(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only", action="append", choices=NAMES, help="run this step alone; may be given several times")
    which.add_argument("--from", dest="first", choices=NAMES, help="begin with this step")
    parser.add_argument("--anew", action="store_true", help="make anew also what is up to date")
    parser.add_argument("--direct", action="store_true", help="read Postgres instead of a snapshot, and take none")
    parser.add_argument("--serve-file", type=Path, help="the Serve file whose ranking weights are in use, for weights")
    flags = parsed_flags(parser, sections=NAMES)
    sections = _sections(flags, parser)
    wanted = [name for name in NAMES if getattr(flags, name) is not None]
    steps = chosen(flags.only, flags.first, direct=flags.direct, wanted=wanted)
    # Ray ends a job by this signal; the step that runs then has to end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))

    def job() -> None:
        if bad := [result.step for result in run(flags, steps, sections) if result.is_bad]:
            sys.exit(f"{', '.join(bad)} did not end well; what each said stands above.")

    run_job(job)


if __name__ == "__main__":
    main()
