"""``shortlist psql``: the bundled client on the local database."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from cluster.commands.options import StateDir, stack_at
from cluster.console import Output
from cluster.local_postgres import LocalPostgres

Replica = Annotated[bool, typer.Option("--replica", help="The read replica instead of the primary.")]
Arguments = Annotated[list[str] | None, typer.Argument(help="Passed on to psql, after --: -- -c 'select 1'")]


def psql(arguments: Arguments = None, state_dir: StateDir = None, replica: Replica = False) -> None:
    """Open psql on the local primary, or on its read replica."""
    stack = stack_at(state_dir, Output(as_json=False))
    stack.running()
    servers = LocalPostgres.of(stack.state)
    server = servers.replica if replica else servers.primary
    program = str(server.programs.bin / "psql")
    os.execv(program, [program, server.url(), *(arguments or [])])  # noqa: S606 - the shell's place is taken on purpose
