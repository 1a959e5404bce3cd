"""
How fast products and events come in: ``python -m bench.imports --products 200k --events 1M``.

Fresh embedded servers, a primary with a streaming read replica and fsync, as the launcher runs them. Each line is
validated and merged as ``shortlist load`` does it; beside it, events as the ingestion deployment writes them, in the
batches of requests. Then what the events are for: the recount of popularity, and one user's interactions.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import numpy as np

from artifacts.event_weights import DEFAULT_HALF_LIFE_DAYS, query_arguments
from bench.synthetic import COLUMNS, SyntheticCatalogue
from catalogue.events import Event
from catalogue.importing import ImportReport, import_events, import_products
from catalogue.readers import Row
from catalogue.store import insert_events
from cluster.account import database_account
from cluster.child import wait_until
from cluster.postgres import PostgresServer
from cluster.postgres_programs import PostgresPrograms
from storage.migrate import migrate
from storage.named_queries import QUERIES

TYPES = np.array(["view", "click", "add_to_cart", "purchase", "rating"])
SHARES = [0.6, 0.2, 0.08, 0.07, 0.05]
DAYS = 365
NEWEST = datetime(2026, 3, 1, tzinfo=UTC)
REQUEST = 500
REQUESTS = 100
USERS_ASKED = 200


def number(text: str) -> int:
    """Return 1000 for ``1k``, 1000000 for ``1M``."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return int(float(text[:-1] if factor > 1 else text) * factor)


def product_rows(count: int) -> Iterator[Row]:
    """Yield the made-up catalogue of *count* products as lines of a file."""
    lines = itertools.count(1)
    for batch in SyntheticCatalogue(count).batches():
        for row in batch:
            fields = dict(zip(COLUMNS, row, strict=True))
            yield Row(next(lines), {**fields, "price": float(row[COLUMNS.index("price")])})  # type: ignore[arg-type]


def event_rows(count: int, products: int, users: int, prefix: str, seed: int = 2) -> Iterator[Row]:
    """Yield *count* events over a year, in order of time, few products and users having most of them."""
    rng = np.random.default_rng(seed)
    for first in range(0, count, 10_000):
        size = min(10_000, count - first)
        product = (products * rng.random(size) ** 3).astype(int)
        user = (users * rng.random(size) ** 2).astype(int)
        kind = TYPES[rng.choice(len(TYPES), size, p=SHARES)]
        value = rng.integers(1, 6, size)
        for row in range(size):
            at = first + row
            rating = kind[row] == "rating"
            yield Row(
                at + 1,
                {
                    "id": f"{prefix}{at}",
                    "user_id": f"u{user[row]}",
                    "product_id": f"p{product[row]:07}",
                    "type": str(kind[row]),
                    "timestamp": NEWEST - timedelta(seconds=(count - at) * DAYS * 86400 // count),
                    **({"value": float(value[row])} if rating else {}),
                },
            )


@contextlib.contextmanager
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A migrated primary and its read replica, gone afterwards."""
    account = database_account()
    # Socket paths are limited to 107 bytes.
    with tempfile.TemporaryDirectory(prefix="shortlist-bench-", dir="/tmp") as name, contextlib.ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o711)
        programs = PostgresPrograms.install(directory / "programs", account)
        for path in (directory / "sockets", directory / "postgres"):
            path.mkdir(mode=0o700)
            if account is not None:
                os.chown(path, account.uid, account.gid)

        def server(name: str, port: int) -> PostgresServer:
            return PostgresServer(
                name,
                programs,
                data=directory / "postgres" / name,
                sockets=directory / "sockets",
                port=port,
                log=directory / f"{name}.log",
            )

        primary, replica = server("postgres-primary", 5432), server("postgres-replica-1", 5433)
        primary.initialise()
        primary.start()
        stack.callback(primary.stop)
        primary.wait_ready()
        primary.create_database()
        asyncio.run(migrate(primary.url()))
        replica.clone(primary)
        replica.follow(primary)
        replica.start()
        stack.callback(replica.stop)
        replica.wait_ready()
        yield primary, replica


def said(what: str, count: int, seconds: float) -> None:
    """Print one figure."""
    print(f"{what:<58} {count:>9,} {seconds:>8.1f} s {count / seconds:>9,.0f} /s", flush=True)


def imported(what: str, report: ImportReport, expected: int) -> None:
    """Print what an import took; all of it must have been loaded."""
    if report.loaded != expected:
        raise SystemExit(f"{what}: {report.loaded} of {expected} were loaded; first refusal: {report.rejected[:1]}")
    said(what, report.loaded, report.seconds)


async def by_requests(url: str, rows: Iterator[Row]) -> tuple[int, float]:
    """Write *rows* as the ingestion deployment does, one transaction for each batch; return how many, in what time."""
    batches: list[list[Event]] = []
    for row in rows:
        if not batches or len(batches[-1]) == REQUEST:
            batches.append([])
        batches[-1].append(Event.model_validate({**row.fields, "timestamp": None}))
    connection = await asyncpg.connect(url)
    started = time.monotonic()
    accepted = 0
    for batch in batches:
        async with connection.transaction():
            accepted += (await insert_events(connection, batch)).accepted
    seconds = time.monotonic() - started
    await connection.close()
    return accepted, seconds


async def uses(url: str, users: int) -> None:
    """Print what a recount takes and what a user's interactions take, on the server at *url*."""
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    started = time.monotonic()
    rows = await connection.fetch(QUERIES["decayed_counts"], *query_arguments(), DEFAULT_HALF_LIFE_DAYS, None)
    print(f"recount of popularity, {len(rows):,} products{'':<22} {time.monotonic() - started:>18.2f} s")
    times = []
    for user in range(USERS_ASKED):
        name = f"u{user * users // USERS_ASKED}"
        started = time.monotonic()
        await connection.fetch(QUERIES["user_interactions"], name, *query_arguments(), 500, None, True)  # noqa: FBT003
        times.append((time.monotonic() - started) * 1000)
    p50, p95 = np.percentile(times, [50, 95])
    print(f"interactions of one user, p50 / p95{'':<31} {p50:>7.2f} / {p95:.2f} ms")
    await connection.close()


def disk(primary: PostgresServer) -> None:
    """Print the size of the database and of its largest tables, indexes included."""
    sizes = primary.query(
        "select relname, pg_size_pretty(size) from ("
        " select case when relname like 'events\\_2%' then 'events (all months)' else relname end as relname,"
        " sum(pg_total_relation_size(oid)) as size from pg_class"
        " where relkind = 'r' and relnamespace = 'public'::regnamespace group by 1"
        ") as tables order by size desc limit 7",
        database="shortlist",
    )
    whole = primary.query("select pg_size_pretty(pg_database_size('shortlist'))")
    print(f"on disk: {whole}: " + ", ".join(line.replace("|", " ") for line in sizes.splitlines()))


def main() -> None:
    """Read the flags, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.imports", description="Products and events a second.")
    parser.add_argument("--products", type=number, default=200_000)
    parser.add_argument("--events", type=number, default=1_000_000)
    parser.add_argument("--users", type=number, default=50_000)
    flags = parser.parse_args()
    with servers() as (primary, replica):
        # Made beforehand: what is measured is the importer.
        catalogue = list(product_rows(flags.products))
        products = asyncio.run(import_products(primary.url(), catalogue))
        imported("products by the importer", products, flags.products)
        again = asyncio.run(import_products(primary.url(), catalogue))
        said("products again, unchanged", again.unchanged, again.seconds)
        rows = event_rows(flags.events, flags.products, flags.users, "e")
        imported("events by the importer", asyncio.run(import_events(primary.url(), rows)), flags.events)
        few = REQUEST * REQUESTS
        requests = event_rows(few, flags.products, flags.users, "r", seed=3)
        said(
            f"events as the ingestion deployment writes them, by {REQUEST}",
            *asyncio.run(by_requests(primary.url(), requests)),
        )
        position = primary.query("select pg_current_wal_flush_lsn()")
        caught_up = f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
        started = time.monotonic()
        wait_until(lambda: replica.query(caught_up) == "t", timeout_s=600)
        print(f"replica caught up {time.monotonic() - started:.1f} s after the last commit")
        primary.query("analyze", database="shortlist")
        asyncio.run(uses(replica.url(), flags.users))
        disk(primary)


if __name__ == "__main__":
    main()
