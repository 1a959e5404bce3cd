"""``shortlist migrate``: bring a database to the schema of this version."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.console import Output
from cluster.errors import ClusterError, NotRunning
from storage.errors import StorageError
from storage.migrate import migrate as apply_migrations

DATABASE_VARIABLE = "SHORTLIST_DATABASE_URL"


def migrate(state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Apply the migrations that the database lacks: the local stack's, or that of $SHORTLIST_DATABASE_URL."""
    output = Output(as_json=as_json)
    applied = migrate_with_progress(output, database_url(output, state_dir))
    output.answer({"applied": applied})


def migrate_with_progress(output: Output, url: str) -> list[str]:
    """Apply the migrations that the database at *url* lacks and return their names."""
    with output.step("migrations"):
        try:
            applied = asyncio.run(apply_migrations(url))
        except StorageError as error:
            raise ClusterError(f"The migrations were not applied: {error}") from error
    output.tell(f"  applied {', '.join(applied)}" if applied else "  the schema is up to date")
    return applied


def database_url(output: Output, state_dir: Path | None) -> str:
    """
    Return the primary's DSN: of the local stack if it runs, else ``$SHORTLIST_DATABASE_URL``.

    With ``--state-dir`` only that stack will do.

    Raises:
        NotRunning: neither is there.
    """
    stack = stack_at(state_dir, output)
    record = stack.record()
    if record is not None and record.condition == "ready":
        return record.database_url
    url = os.environ.get(DATABASE_VARIABLE)
    if url and state_dir is None:
        output.tell(f"Using {DATABASE_VARIABLE}")
        return url
    raise NotRunning(
        f"No stack runs in {stack.state.root}. Start it with: shortlist up. "
        f"Or set {DATABASE_VARIABLE} to another database."
    )
