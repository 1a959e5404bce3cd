"""``shortlist load``: products and events into the database."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from catalogue.columns import Kind
from catalogue.errors import CatalogueError
from catalogue.importing import ImportReport, import_events, import_products, import_users
from catalogue.movielens import fetch_movielens
from catalogue.movielens import movielens as read_movielens
from catalogue.readers import read_rows
from cluster.commands.migrate import database_url, migrate_with_progress
from cluster.commands.options import AsJson, StateDir, stack_at
from cluster.console import Output
from cluster.errors import ClusterError, RejectedInput, UsageError
from storage.errors import StorageError

load = typer.Typer(
    help="Load a data set: MovieLens-100K, or products and events of your own from JSON lines, CSV or parquet.",
    no_args_is_help=True,
)

File = Annotated[Path, typer.Argument(help="A .jsonl, .ndjson, .csv, .tsv or .parquet file.")]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN",
        help="Read FIELD from COLUMN of the file; FIELD==TEXT gives every line that text. May be repeated.",
    ),
]
Import = Callable[..., Coroutine[Any, Any, ImportReport]]


@load.command("movielens")
def load_movielens(state_dir: StateDir = None, as_json: AsJson = False) -> None:
    """Load MovieLens-100K: 1,682 films, 943 people, 100,000 ratings. Downloads 2 MB once."""
    output = Output(as_json=as_json)
    url = database_url(output, state_dir)
    migrate_with_progress(output, url)
    downloads = stack_at(state_dir, output).state.downloads
    reports = movielens_with_progress(output, url, downloads)
    output.answer({name: dataclasses.asdict(report) for name, report in reports.items()})


@load.command("products")
def load_products(
    file: File,
    fields: Map = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Load products; a line whose id is known replaces that product. Exit code 5 when lines were refused."""
    _load_file(file, "products", import_products, fields, state_dir, as_json=as_json)


@load.command("events")
def load_events(
    file: File,
    fields: Map = None,
    state_dir: StateDir = None,
    as_json: AsJson = False,
) -> None:
    """Load events, each id once. Exit code 5 when lines were refused."""
    _load_file(file, "events", import_events, fields, state_dir, as_json=as_json)


def movielens_with_progress(output: Output, url: str, downloads: Path) -> dict[str, ImportReport]:
    """Fetch MovieLens-100K into *downloads* unless it is there, load it, and return what became of each table."""
    with _advice(), output.step("download MovieLens-100K"):
        source = read_movielens(fetch_movielens(downloads))
    tables: dict[str, tuple[Import, Any]] = {
        "products": (import_products, source.products()),
        "users": (import_users, source.users()),
        "events": (import_events, source.events()),
    }
    return {name: _import(output, url, name, run, rows) for name, (run, rows) in tables.items()}


def _load_file(
    file: Path, kind: Kind, run: Import, fields: list[str] | None, state_dir: Path | None, *, as_json: bool
) -> None:
    output = Output(as_json=as_json)
    mapping = dict(_pair(text) for text in fields or [])
    url = database_url(output, state_dir)
    migrate_with_progress(output, url)
    with _advice():
        rows = read_rows(file, kind, mapping)
    report = _import(output, url, kind, run, rows)
    output.answer({kind: dataclasses.asdict(report)})
    if report.rejected_count:
        output.tell("Good lines are loaded. Mend the others and load the file again: nothing is loaded twice.")
        raise typer.Exit(RejectedInput.exit_code)


def _import(output: Output, url: str, name: str, run: Import, rows: Any) -> ImportReport:  # noqa: ANN401 - of any source
    with _advice(), output.step(f"load {name}") as progress:
        report = asyncio.run(run(url, rows, progress=lambda read: progress.say(f"{read} lines")))
    speed = report.read / report.seconds if report.seconds else 0.0
    output.tell(
        f"  {report.read} read, {report.loaded} loaded, {report.unchanged} unchanged, {report.duplicates} duplicates, "
        f"{report.rejected_count} refused; {speed:.0f} lines/s"
    )
    for each in report.rejected:
        output.tell(f"  line {each.line}: {each.field or 'the line'}: {each.reason}")
    if report.rejected_count > len(report.rejected):
        output.tell(f"  and {report.rejected_count - len(report.rejected)} more")
    return report


def _pair(text: str) -> tuple[str, str]:
    field, separator, column = text.partition("=")
    if not separator or not field or not column:
        raise UsageError(f"--map {text}: write it as FIELD=COLUMN, for example --map title=product_name")
    return field, column


@contextlib.contextmanager
def _advice() -> Iterator[None]:
    """Errors of the catalogue and of storage are advice already; they only need the command's way out."""
    try:
        yield
    except CatalogueError as error:
        raise UsageError(str(error)) from error
    except StorageError as error:
        raise ClusterError(str(error)) from error
