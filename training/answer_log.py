"""The answers that users followed up, from the database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from evaluation.logged_answers import COLUMNS, LoggedAnswers, WrongLog
from storage.settings import StorageSettings
from training.errors import NothingToTrainOn, WrongInput
from training.queries import QUERIES
from training.reading import arrow_table, reading

EVENTS = ("click", "add_to_cart", "purchase")
"""Any of these on a shown product counts as a click on it, once."""

DAYS = 90
FOLLOWING_HOURS = 24
MOST_ANSWERS = 100_000


async def followed_up(
    settings: StorageSettings, events: Sequence[str], *, days: int, hours: int, most: int = MOST_ANSWERS
) -> pa.Table:
    """
    Return what the answers showed that an event followed, a row a product, with `COLUMNS`.

    Args:
        settings: The first read replica that answers is read, else the primary.
        events: Types that count as a click.
        days: How far to look back from the newest event that names a request.
        hours: Within how many an event belongs to the answer that it names.
        most: Answers; of more a sample, the same each time.
    """
    # COPY writes a truth value as t or f.
    columns = {**COLUMNS, "clicked": pa.string()}
    async with reading(settings) as connection:
        table = await arrow_table(
            connection, QUERIES["answers_followed_up"], list(events), days, hours, most, columns=columns
        )
    clicked = compute.equal(table["clicked"], "t")
    return table.set_column(table.column_names.index("clicked"), "clicked", clicked)


def read_answers(
    path: Path | None,
    events: Sequence[str] = EVENTS,
    *,
    days: int = DAYS,
    hours: int = FOLLOWING_HOURS,
    most: int = MOST_ANSWERS,
) -> pa.Table:
    """
    Return the answers of the parquet file at *path*, else of the database that the environment names.

    Raises:
        WrongInput: the file cannot be read.
        NothingToTrainOn: no answer was followed up.
    """
    if path is not None:
        try:
            table = pq.read_table(path)
        except FileNotFoundError as error:
            raise WrongInput(f"There is no {path}. `shortlist replay --save` writes such a file") from error
        except (OSError, pa.ArrowException) as error:
            raise WrongInput(f"{path} cannot be read as parquet: {error}") from error
    else:
        settings = StorageSettings.from_environment()
        table = asyncio.run(followed_up(settings, events, days=days, hours=hours, most=most))
    if not table.num_rows:
        raise NothingToTrainOn(
            "No event names the answer that it followed. Send events with the request_id of the answer that showed the "
            f"product, of type {', '.join(events)}; answers themselves are logged without being asked for."
        )
    return table


def answers_of(table: pa.Table) -> LoggedAnswers:
    """
    Return the answers of *table*.

    Raises:
        WrongInput: it is not a log of answers.
    """
    try:
        return LoggedAnswers.of_table(table)
    except WrongLog as error:
        raise WrongInput(f"The log of answers cannot be used: {error}") from error
