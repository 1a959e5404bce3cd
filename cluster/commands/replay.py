"""``shortlist replay``: two rankings compared by the clicks on logged answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from artifacts.store import ROOT_VARIABLE
from cluster.commands.migrate import DATABASE_VARIABLE
from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.console import Output
from cluster.errors import ClusterError, NotRunning, UsageError

REPLICAS_VARIABLE = "SHORTLIST_REPLICA_URLS"

Ranking = Annotated[
    Path, typer.Argument(help="A Serve file, or one with the user_config of ranking alone.", show_default=False)
]
Other = Annotated[Path | None, typer.Argument(help="The one to compare it with.", show_default=False)]
Cf = Annotated[
    tuple[str, str] | None,
    typer.Option("--cf", metavar="VERSION VERSION", help="Versions of collaborative, for the first and the second."),
]
Root = Annotated[str | None, typer.Option("--root", help="Where those versions lie (default: as for `artifacts`).")]
Answers = Annotated[Path | None, typer.Option("--answers", help="A parquet log of answers, in place of the database.")]
Save = Annotated[Path | None, typer.Option("--save", help="Write what was read as a parquet log of answers.")]
Events = Annotated[str | None, typer.Option("--events", help="Event types that count as a click, with commas.")]
Days = Annotated[int | None, typer.Option("--days", min=1, help="Days to look back from the newest event (90).")]
PositionBias = Annotated[
    float | None,
    typer.Option("--position-bias", min=0.0, max=3.0, help="A rank is looked at as rank ** -this (default: fitted)."),
]


def replay(
    first: Ranking,
    second: Other = None,
    *,
    cf: Cf = None,
    root: Root = None,
    answers: Answers = None,
    save: Save = None,
    events: Events = None,
    days: Days = None,
    position_bias: PositionBias = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """
    Compare two rankings by the clicks on the answers that users followed up, without serving either.

    Give two files for two sets of weights, or --cf for two versions of collaborative. Answers are read from the local
    stack's read replica, or as $SHORTLIST_REPLICA_URLS and $SHORTLIST_DATABASE_URL say, or from --answers.
    """
    output = Output(as_json=as_json)
    given = {
        "--root": root,
        "--answers": answers,
        "--save": save,
        "--events": events,
        "--days": days,
        "--position-bias": position_bias,
    }
    command = [sys.executable, "-m", "training.replay", *(["--json"] if as_json else [])]
    command += [f"{name}={value}" for name, value in given.items() if value is not None]
    command += ["--cf", *cf] if cf else []
    command += ["--", str(first), *([str(second)] if second else [])]
    environment = {**os.environ, **_places(output, state_dir, logged=answers is not None)}
    with output.step("replay"):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = [line for line in done.stderr.strip().splitlines() if line]
            message = said[-1] if said else f"the replay ended with {done.returncode}"
            raise (UsageError if done.returncode == UsageError.exit_code else ClusterError)(message)
    if as_json:
        output.answer(json.loads(done.stdout))
    else:
        output.result.print(done.stdout.rstrip(), highlight=False, markup=False)


def _places(output: Output, state_dir: Path | None, *, logged: bool) -> dict[str, str]:
    """
    The databases and the artifacts' root of the local stack if it runs, else those of the environment.

    Raises:
        NotRunning: neither is there, and no log of answers either.
    """
    stack = stack_at(state_dir, output)
    record = stack.record()
    if record is not None and record.condition == "ready":
        return {
            DATABASE_VARIABLE: record.database_url,
            REPLICAS_VARIABLE: ",".join(record.replica_urls),
            ROOT_VARIABLE: str(stack.state.artifacts),
        }
    if logged or (os.environ.get(DATABASE_VARIABLE) and state_dir is None):
        return {}
    raise NotRunning(
        f"No stack runs in {stack.state.root}. Start it with: shortlist up. "
        f"Or set {DATABASE_VARIABLE} to another database, or give --answers."
    )
