"""``shortlist evaluate``: how good the catalogue's recommendations are, offline and as served."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from artifacts.store import ROOT_VARIABLE
from cluster.commands.migrate import DATABASE_VARIABLE
from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.commands.replay import REPLICAS_VARIABLE
from cluster.console import Output
from cluster.errors import ClusterError, NotRunning, UsageError

NEEDED = ("implicit", "ir_measures", "scipy")

Url = Annotated[
    str | None, typer.Option("--url", help="Ask this stack over HTTP (default: the local one; else only offline).")
]
Root = Annotated[str | None, typer.Option("--root", help="Where artifacts lie (default: as for `artifacts`).")]
Snapshot = Annotated[
    str | None, typer.Option("--snapshot", help="Read this snapshot, such as latest, in place of the database.")
]
Holdout = Annotated[str, typer.Option("--holdout", help="What is withheld: time, last (of each user), random.")]
HoldoutShare = Annotated[float, typer.Option("--holdout-share", min=0.01, max=0.9, help="How much of it.")]
Users = Annotated[int, typer.Option("--users", min=1, help="Most users asked for over HTTP.")]
Baselines = Annotated[bool, typer.Option("--baselines", help="Fit item-kNN and BPR too.")]
SecondStack = Annotated[
    bool,
    typer.Option(
        "--second-stack",
        help="Start a stack that knows only what came before the cut, and score what it serves; needs --snapshot.",
    ),
]
Out = Annotated[Path, typer.Option("--out", help="Where the report is written.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit code 1 where served is not what its version says.")]


def evaluate(
    *,
    url: Url = None,
    root: Root = None,
    snapshot: Snapshot = None,
    holdout: Holdout = "time",
    holdout_share: HoldoutShare = 0.2,
    users: Users = 200,
    baselines: Baselines = False,
    second_stack: SecondStack = False,
    out: Out = Path("reports"),
    strict: Strict = False,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """
    Say how good the recommendations are: offline, beside popularity and random, and as served over HTTP.

    Models are fitted to the events before a cut in time and asked for those after it. What the stack serves stands
    beside what its version of collaborative says, with the reasons where they differ. Writes a table, JSON and a page.
    """
    output = Output(as_json=as_json)
    require_training()
    places = _places(output, state_dir, free=bool(snapshot and (root or os.environ.get(ROOT_VARIABLE))))
    url = url or places.pop("url", None)
    places.pop("url", None)
    given = {
        "--url": url,
        "--root": root,
        "--snapshot": snapshot,
        "--holdout": holdout,
        "--holdout-share": holdout_share,
        "--users": users,
        "--out": out,
    }
    command = [sys.executable, "-m", "training.evaluate"]
    command += [f"{name}={value}" for name, value in given.items() if value is not None]
    chosen = {"--baselines": baselines, "--second-stack": second_stack, "--strict": strict, "--json": as_json}
    command += [name for name, is_chosen in chosen.items() if is_chosen]
    with output.step("evaluate") as progress:
        code, result, last = _followed(command, {**os.environ, **places}, progress.say)
        if code and not result:
            raise (UsageError if code == UsageError.exit_code else ClusterError)(last or f"it ended with {code}")
    if as_json:
        # Above it may stand that a replica did not answer.
        output.answer(json.loads(result.splitlines()[-1]))
    else:
        output.result.print(result.rstrip(), highlight=False, markup=False)
    if code:
        raise typer.Exit(code)


def require_training(names: Sequence[str] = NEEDED) -> None:
    """
    Return where the modules *names* are installed.

    Raises:
        UsageError: one is not.
    """
    if missing := lacking(names):
        raise UsageError(
            f"This needs {', '.join(missing)}, which come with the training extra: pip install 'shortlist[training]'"
        )


def lacking(names: Sequence[str]) -> list[str]:
    """Those of *names* that are no installed modules."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def _followed(command: list[str], environment: dict[str, str], say: Callable[[str], None]) -> tuple[int, str, str]:
    """Run *command*; return its exit code, what it wrote to stdout, and the last line on stderr."""
    last = ""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as written,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stderr is not None
        for line in process.stderr:
            if line.strip():
                last = line.strip()
                say(last)
        process.wait()
        written.seek(0)
        result = written.read()
    return process.returncode, result, last


def _places(output: Output, state_dir: Path | None, *, free: bool) -> dict[str, str]:
    """
    The URL, databases and artifacts' root of the local stack if it runs, else nothing: the environment has them.

    Args:
        free: Whether neither a stack nor a database is needed.

    Raises:
        NotRunning: neither is there.
    """
    stack = stack_at(state_dir, output)
    record = stack.record()
    if record is not None and record.condition == "ready":
        return {
            DATABASE_VARIABLE: record.database_url,
            REPLICAS_VARIABLE: ",".join(record.replica_urls),
            ROOT_VARIABLE: str(stack.state.artifacts),
            "url": record.url,
        }
    if free or (os.environ.get(DATABASE_VARIABLE) and state_dir is None):
        return {}
    raise NotRunning(
        f"No stack runs in {stack.state.root}. Start it with: shortlist up. "
        f"Or set {DATABASE_VARIABLE} and {ROOT_VARIABLE}, or give --snapshot and --root."
    )
