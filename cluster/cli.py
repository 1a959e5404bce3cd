"""``shortlist``: a local stack, its data, its training jobs and its deployments."""

from __future__ import annotations

import errno
import json
import sys

import typer

from cluster.commands.artifacts import artifacts
from cluster.commands.cache import cache
from cluster.commands.demo import demo
from cluster.commands.deploy import deploy
from cluster.commands.down import down
from cluster.commands.evaluate import evaluate
from cluster.commands.load import load
from cluster.commands.maintain import maintain
from cluster.commands.migrate import migrate
from cluster.commands.promote import promote
from cluster.commands.psql import psql
from cluster.commands.replay import replay
from cluster.commands.status import status
from cluster.commands.train import train
from cluster.commands.up import up
from cluster.errors import ClusterError
from cluster.signals import StopAsked

EXIT_CODES = (
    "Exit codes: 0 done; 1 failed; 2 wrong option or configuration; 3 no stack is running; 4 a port is in use; "
    "5 some input lines were refused (the others are loaded); 6 the state directory cannot be used; "
    "7 the application did not come up; 8 a training job failed; 9 the replica cannot be promoted; "
    "10 a version of an artifact was refused; "
    "128 + n stopped by signal n."
)

app = typer.Typer(
    name="shortlist",
    help="A local stack of Shortlist: its servers, its data, its training jobs and its deployments.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, up, down, status, migrate, train, deploy, promote, maintain, evaluate, replay, psql):
    app.command()(command)
app.add_typer(load, name="load")
app.add_typer(cache, name="cache")
app.add_typer(artifacts, name="artifacts")


def main() -> None:
    """Run one command; a failure is one message on stderr (and, with ``--json``, one document on stdout)."""
    try:
        app()
    except ClusterError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM}:
            raise
        _fail(f"{error.strerror}: {error.filename}. Free some space or choose another place with --state-dir.", 6)
    except StopAsked as stop:
        sys.exit(128 + stop.number)


def _fail(message: str, exit_code: int) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": message, "exit_code": exit_code}) + "\n")
    sys.stderr.write(f"Error: {message}\n")
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
