"""The flags that every job has, and the errors that a job ends with."""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import asyncpg

from artifacts.errors import ArtifactError
from artifacts.places import below
from artifacts.quality import MARGIN
from artifacts.store import CACHE_VARIABLE, ROOT_VARIABLE, ArtifactStore
from storage.errors import StorageError
from training.errors import TrainingError, WrongInput

RUNS_VARIABLE = "SHORTLIST_TRAINING_RUNS"


def plain_parser(program: str, description: str) -> argparse.ArgumentParser:
    """A parser without flags."""
    return argparse.ArgumentParser(
        prog=f"python -m {program}",
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Events and products are read from SHORTLIST_REPLICA_URLS, else from SHORTLIST_DATABASE_URL.",
    )


def add_root(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says where artifacts and snapshots lie."""
    root = os.environ.get(ROOT_VARIABLE) or None
    parser.add_argument("--root", default=root, required=root is None, help=f"artifact root; {ROOT_VARIABLE} if set")


def job_parser(program: str, description: str) -> argparse.ArgumentParser:
    """A parser with the flags that every job has that makes an artifact."""
    parser = plain_parser(program, description)
    add_root(parser)
    parser.add_argument(
        "--no-activate",
        dest="activate",
        action="store_false",
        help="publish the version without putting it into use",
    )
    parser.add_argument(
        "--margin", type=share, default=MARGIN, help="share of an active version's figure that the new one may lack"
    )
    parser.add_argument("--force", action="store_true", help="put it into use although its figures are too low")
    return parser


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the jobs that are Ray Train runs."""
    parser.add_argument(
        "--runs",
        default=os.environ.get(RUNS_VARIABLE),
        help=f"where Ray Train keeps its runs: a directory or URI; {RUNS_VARIABLE} if set, else <root>/runs",
    )


def add_snapshot(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the jobs that can read a snapshot, and tell from what they read whether anything changed."""
    parser.add_argument(
        "--snapshot", help="read this snapshot instead of Postgres: latest, a version, or a snapshot's directory"
    )
    parser.add_argument(
        "--if-changed",
        action="store_true",
        help="make nothing where the version in use is sound and was made from the same, with the same flags",
    )


def positive(text: str) -> float:
    """A flag's value that must be above 0 and finite."""
    value = _number(text, "a number above 0")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def share(text: str) -> float:
    """A flag's value from 0 to 1."""
    value = _number(text, "a number from 0 to 1")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return value


def fraction(text: str) -> float:
    """A flag's value between 0 and 1, neither of them."""
    value = _number(text, "a number between 0 and 1")
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number between 0 and 1")
    return value


def duration(text: str) -> float:
    """A flag's value in seconds, 0 or more and finite."""
    value = _number(text, "a number of seconds")
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def seed(text: str) -> int:
    """A flag's value that random numbers begin with: a whole number below 2**32, as numpy takes it."""
    if not text.strip().isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 0 to {2**32 - 1}")
    return int(text)


def whole(text: str) -> int:
    """A flag's value that must be a whole number, at least 1."""
    if not text.strip().isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is not {what}") from None


def store_at(root: str) -> ArtifactStore:
    """The artifact store of the ``--root`` flag."""
    return ArtifactStore(root, cache=os.environ.get(CACHE_VARIABLE) or None)


def require_writable(place: str | Path, flag: str = "--root") -> None:
    """
    Refuse a directory that nothing can be written to, before anything is computed; an object store says so later.

    Raises:
        WrongInput: with the name of *flag*.
    """
    if "://" in str(place):
        return
    directory = Path(place).expanduser()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise WrongInput(f"{flag}: nothing can be written to {place}: {error.strerror}. Name another one.") from error


def runs_at(root: str, runs: str | None, kind: str) -> str:
    """Where Ray Train keeps the runs of *kind*: absolute, or a URI."""
    where = below(runs or below(root, "runs"), kind)
    return where if "://" in where else str(Path(where).expanduser().absolute())


def run_job(job: Callable[[], None]) -> None:
    """Run *job*; an error that advises its reader ends the process with that advice and exit code 1."""
    try:
        job()
    except (ArtifactError, StorageError, TrainingError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError) as error:
        sys.exit(f"The database has not been migrated ({error.args[0]}). Run `python -m storage.migrate`.")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError) as error:
        sys.exit(
            f"The database broke off: {type(error).__name__}: {error}. The version in use stays; run the job again."
        )
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        sys.exit(
            f"{error}. The temporary directory {tempfile.gettempdir()} may be full: make room there, or name another "
            "one by TMPDIR. The version in use stays; run the job again."
        )
