"""``shortlist maintain``: what has to be done now and then, done now."""

from __future__ import annotations

import asyncio
import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from catalogue.maintenance import arguments, described, run_once
from catalogue.maintenance_tasks import TASKS
from cluster.commands.migrate import database_url
from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.console import Output
from cluster.errors import ClusterError, UsageError
from storage.settings import StorageSettings

Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help=f"Only this one; may be repeated. There are {', '.join(TASKS)}."),
]
DetachOlderThan = Annotated[
    int | None,
    typer.Option(
        "--detach-older-than",
        metavar="MONTHS",
        min=1,
        help="Detach the months of events that are older; their tables stay, to be archived and dropped.",
    ),
]


def maintain(
    task: Tasks = None,
    detach_older_than: DetachOlderThan = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Do now what serving does by itself: make months of events ahead, recount popularity, compact the change feed."""
    output = Output(as_json=as_json)
    unknown = set(task or ()) - set(TASKS)
    if unknown:
        raise UsageError(f"No such task: {', '.join(sorted(unknown))}. There are {', '.join(TASKS)}.")
    names, config = arguments(task, detach_older_than)
    settings = _settings(output, state_dir)
    runs = []
    for name in names:
        with output.step(TASKS[name].about):
            runs += asyncio.run(run_once(settings, config, [name]))
        for line in described(runs[-1]):
            output.tell(f"  {line}")
    output.answer({"runs": [dataclasses.asdict(run) for run in runs]})
    failed = [run.name for run in runs if run.error is not None]
    if failed:
        output.tell(f"Not everything was done: {', '.join(failed)} failed.")
        raise typer.Exit(ClusterError.exit_code)


def _settings(output: Output, state_dir: Path | None) -> StorageSettings:
    """The databases of the local stack if it runs, else those of the environment."""
    url = database_url(output, state_dir)
    record = stack_at(state_dir, output).record()
    if record is not None and record.database_url == url:
        return StorageSettings(url, tuple(record.replica_urls))
    return StorageSettings.from_environment({**os.environ, "SHORTLIST_DATABASE_URL": url})
