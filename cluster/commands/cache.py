"""``shortlist cache``: what Redis holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from cluster.commands.migrate import DATABASE_VARIABLE
from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.console import Output, Progress
from cluster.errors import ClusterError, NotRunning, UsageError

REDIS_VARIABLE = "SHORTLIST_REDIS_URL"

cache = typer.Typer(help="What Redis holds.", no_args_is_help=True)


@cache.callback()
def _group() -> None:
    """Keep ``verify`` a word of its own while it is the only one."""


@cache.command()
def verify(state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """
    Trust again what Redis held before it was away: what the database confirms is carried over, the rest deleted.

    The servers are those of the local stack, or $SHORTLIST_REDIS_URL and $SHORTLIST_DATABASE_URL.
    """
    output = Output(as_json=as_json)
    with output.step("cache verify") as progress:
        done = _verified({**os.environ, **_servers(output, state_dir)}, progress)
    for name, counts in sorted(done["purposes"].items()):
        carried, superseded, deleted = counts["carried"], counts["superseded"], counts["deleted"]
        output.tell(f"  {name}: {carried} carried over, {superseded} kept anew already, {deleted} deleted")
    if not done["purposes"]:
        output.tell(
            "  nothing was left from before; there was nothing to do. Right after an outage the new epoch has not "
            "begun yet: run this again when `redis` is closed under `breakers` in /health, after half a minute"
        )
    output.answer(done)


def _verified(environment: dict[str, str], progress: Progress) -> dict[str, Any]:
    """Run the verification in a process of its own, which may import what serves, and return what it reports."""
    command = [sys.executable, "-m", "retrieval.cache_verification", "--json"]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        said = ""
        for line in process.stderr:
            said = line.strip() or said
            progress.say(said)
        report = process.stdout.read()
    try:
        done: dict[str, Any] = json.loads(report)
    except ValueError:
        done = {"error": said or f"the verification ended with {process.returncode}"}
    if process.returncode != 0:
        raise (UsageError if process.returncode == UsageError.exit_code else ClusterError)(done["error"])
    return done


def _servers(output: Output, state_dir: Path | None) -> dict[str, str]:
    """
    Redis and the primary: of the local stack if it runs, else those of the environment; with ``--state-dir`` only that.

    Raises:
        NotRunning: neither is there.
    """
    stack = stack_at(state_dir, output)
    record = stack.record()
    if record is not None and record.condition == "ready":
        return {DATABASE_VARIABLE: record.database_url, REDIS_VARIABLE: record.redis_url}
    if os.environ.get(DATABASE_VARIABLE) and state_dir is None:
        output.tell(f"Using {DATABASE_VARIABLE} and {REDIS_VARIABLE}")
        return {}
    raise NotRunning(
        f"No stack runs in {stack.state.root}. Start it with: shortlist up. "
        f"Or set {DATABASE_VARIABLE} and {REDIS_VARIABLE} to other servers."
    )
