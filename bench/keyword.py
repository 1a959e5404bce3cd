"""
Keyword search beside plain ``ts_rank``: ``python -m bench.keyword --sizes 10k,100k,1M``.

A made-up catalogue in an embedded Postgres of its own, asked over one session with prepared statements: the project's
query, and plain ``ts_rank`` over every product that holds all words (AND) or any word (OR), sorted in full. Every
statement answers every query once before it is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import asyncpg
import numpy as np
from asyncpg.prepared_stmt import PreparedStatement

from bench.synthetic import COLUMNS, SyntheticCatalogue
from catalogue.vocabulary import refresh_keyword_head, refresh_vocabulary
from cluster.account import database_account
from cluster.postgres import PostgresServer
from cluster.postgres_programs import PostgresPrograms
from storage.connection import Connection
from storage.migrate import migrate
from storage.named_queries import QUERIES

LIMIT = 200
KNOWN_ITEMS = 200
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SETTINGS = {"fsync": "off", "shared_buffers": "512MB", "maintenance_work_mem": "512MB", "max_wal_size": "8GB"}

_PLAIN = """
    select id as product_id, ts_rank(search_vector, wish) as score
    from products cross join (select {wish} as wish) as wishes
    where search_vector @@ wish and not hidden
        and ($3::text is null or category = $3) and ($4::numeric is null or price >= $4)
        and ($5::numeric is null or price <= $5) and ($6::boolean is null or in_stock = $6)
    order by score desc, product_id limit $2
"""
STATEMENTS = {
    # As KeywordRetriever sends them: a single word first asks whether it is rare.
    "tiered": (QUERIES["keyword_rare_word"], QUERIES["keyword_candidates"]),
    "AND": (_PLAIN.format(wish="plainto_tsquery('english', $1)"),),
    "OR": (_PLAIN.format(wish="replace(plainto_tsquery('english', $1)::text, '&', '|')::tsquery"),),
}

Arguments = tuple[str, int, str | None, Decimal | None, Decimal | None, bool | None]


@dataclass(frozen=True)
class Sample:
    """Queries of one *kind*."""

    kind: str
    queries: list[Arguments]


def number(text: str) -> int:
    """Return 1000 for ``1k``, 1000000 for ``1M``."""
    factor = {"k": 1_000, "m": 1_000_000}.get(text[-1:].lower(), 1)
    return int(float(text[:-1] if factor > 1 else text) * factor)


@contextlib.contextmanager
def server(directory: Path) -> Iterator[PostgresServer]:
    """A primary in *directory*, made if it is not there; stopped afterwards."""
    account = database_account()
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)
    for path in (directory / "sockets", directory / "postgres"):
        path.mkdir(mode=0o700, exist_ok=True)
        if account is not None:
            os.chown(path, account.uid, account.gid)
    primary = PostgresServer(
        "postgres-primary",
        PostgresPrograms.install(directory / "programs", account),
        data=directory / "postgres" / "primary",
        sockets=directory / "sockets",
        port=5432,
        log=directory / "postgres.log",
        settings=SETTINGS,
    )
    if not primary.exists:
        primary.initialise()
    primary.start()
    try:
        primary.wait_ready()
        yield primary
    finally:
        primary.stop()


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long the block took."""
    started = time.monotonic()
    yield
    print(f"  {what:<58}{time.monotonic() - started:9.2f} s", flush=True)


async def load(url: str, size: int) -> None:
    """Fill the empty database at *url*: rows first, text indexes afterwards."""
    await migrate(url)
    connection = await asyncpg.connect(url)
    indexes = [row[0] for row in await connection.fetch("select indexdef from pg_indexes where indexdef ~ 'vector'")]
    await connection.execute(
        "drop index products_search_vector, keyword_head_first, keyword_head_second;"
        "alter table products disable trigger user"
    )
    with timed("products copied, two sessions"):
        batches = SyntheticCatalogue(size).batches()

        async def copy() -> None:
            session = await asyncpg.connect(url)
            for batch in batches:
                await session.copy_records_to_table("products", records=batch, columns=COLUMNS)
            await session.close()

        await asyncio.gather(copy(), copy())
    await connection.execute("insert into popularity_versions values ('bench', now(), 30, true)")
    await connection.copy_records_to_table(
        "product_popularity",
        records=((*row, "bench") for row in SyntheticCatalogue(size).popularity()),
        columns=("product_id", "popularity", "weighted_count", "version"),
    )
    with timed("head filled (without its indexes)"):
        await connection.execute("analyze")
        await refresh_keyword_head(connection)
    with timed("text indexes built"):
        for index in indexes:
            await connection.execute(index, timeout=3600)
    with timed("vocabulary counted"):
        await refresh_vocabulary(connection)
    await connection.execute("alter table products enable trigger user")
    await connection.execute("vacuum analyze")
    with timed("vocabulary and head refreshed, nothing having changed"):
        await refresh_vocabulary(connection)
        await refresh_keyword_head(connection)
    await connection.execute("update popularity_versions set version = 'bench-2'")
    with timed("head refreshed, popularity having changed"):
        await refresh_keyword_head(connection)
    await connection.close()


def misspelt(word: str, rng: random.Random) -> str:
    """Return *word* with two letters exchanged, or one missing, wrong or too many."""
    at = rng.randrange(1, len(word) - 1)
    letter = rng.choice(LETTERS)
    return rng.choice(
        [
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + letter + word[at + 1 :],
            word[:at] + letter + word[at:],
        ]
    )


async def samples(connection: Connection, size: int, count: int) -> list[Sample]:
    """Return the queries to ask, *count* of a kind at most."""
    rng = random.Random(7)  # noqa: S311 - not for secrets
    rows = await connection.fetch("select title, category from products order by md5(id) limit $1", 10 * count)
    titles = [(row["title"].lower().split(), row["category"]) for row in rows]
    common = [row[0] for row in await connection.fetch("select word from vocabulary order by documents desc limit 20")]
    rare = await connection.fetch(
        "select word from vocabulary where documents <= $1 and to_tsvector('english', word) @@ lexeme_query(word) "
        "order by md5(word) limit $2",
        max(3, size // 20_000),
        count,
    )
    small = await connection.fetch(
        "select category from products group by category order by count(*), category limit 20"
    )

    def some(words: int) -> list[str]:
        return [" ".join(rng.sample(title, words)) for title, _ in titles if len(title) >= words][:count]

    def asked(texts: list[str]) -> list[Arguments]:
        return [(text, LIMIT, None, None, None, None) for text in texts]

    pairs = [f"{one} {other}" for place, one in enumerate(common[:8]) for other in common[place + 1 : 8]]
    long = [word for word in some(1) if len(word) > 5]  # noqa: PLR2004
    categories = [(title[0], category) for title, category in titles[:count]]
    return [
        Sample("one word", asked(some(1))),
        Sample("two words", asked(some(2))),
        Sample("three words", asked(some(3))),
        Sample("very common word", asked(common)),
        Sample("two common words", asked(pairs[:count])),
        Sample("rare word", asked([row["word"] for row in rare])),
        Sample("misspelt word", asked([misspelt(word, rng) + " " for word in long])),
        Sample("unfinished word", asked([word[:-2] for word in long])),
        Sample("one word in its category", [(word, LIMIT, name, None, None, None) for word, name in categories]),
        Sample(
            "very common word, rare category",
            [(word, LIMIT, row["category"], None, None, None) for word, row in zip(common, small, strict=False)],
        ),
        Sample(
            "very common word, narrow price",
            [(word, LIMIT, None, Decimal(20), Decimal("20.1"), None) for word in common[:10]],
        ),
    ]


Ask = Callable[[Arguments], Awaitable[list[asyncpg.Record]]]


async def asking(connection: Connection) -> dict[str, Ask]:
    """Return for each way of searching what answers a query that way."""
    ways = {name: [await connection.prepare(sql) for sql in sqls] for name, sqls in STATEMENTS.items()}

    def one(statements: list[PreparedStatement[asyncpg.Record]]) -> Ask:
        async def ask(query: Arguments) -> list[asyncpg.Record]:
            if len(statements) > 1 and len(query[0].split()) == 1:
                rows = await statements[0].fetch(*query)
                if rows:
                    return rows
            return await statements[-1].fetch(*query)

        return ask

    return {name: one(statements) for name, statements in ways.items()}


async def times_ms(ask: Ask, queries: list[Arguments]) -> tuple[list[float], float]:
    """Return how long each query took the second time, and how many products it found on average."""
    for query in queries:
        await ask(query)
    times, found = [], 0
    for query in queries:
        started = time.perf_counter()
        found += len(await ask(query))
        times.append((time.perf_counter() - started) * 1000)
    return times, found / len(queries)


async def speed(connection: Connection, size: int, count: int) -> None:
    """Print p50 and p95 of every kind of query by every statement."""
    head = "".join(f"{f'{name} p50':>12}{'p95':>9}" for name in STATEMENTS)
    print(f"{'ms':<34}{head}{'AND/tiered p50':>16}{'p95':>7}   found")
    ways = await asking(connection)
    for sample in await samples(connection, size, count):
        cells, percentiles, counts = "", {}, []
        for name, ask in ways.items():
            times, found = await times_ms(ask, sample.queries)
            p50, p95 = percentiles[name] = np.percentile(times, [50, 95])
            cells += f"{p50:12.2f}{p95:9.2f}"
            counts.append(f"{found:.0f}")
        ratios = np.divide(percentiles["AND"], percentiles["tiered"])
        print(f"{sample.kind:<34}{cells}{ratios[0]:16.1f}{ratios[1]:7.1f}   {'/'.join(counts)}", flush=True)


async def quality(connection: Connection, size: int) -> None:
    """Print how well each statement finds a product by two words of its title: the mean reciprocal rank."""
    rng = random.Random(11)  # noqa: S311 - not for secrets
    order = "select id, title from products left join product_popularity on product_id = id where title like '% %' "
    anyone = await connection.fetch(order + "order by md5(id) limit $1", KNOWN_ITEMS)
    popular = await connection.fetch(order + "order by popularity desc nulls last, id limit $1", max(500, size // 100))
    sought: dict[str, list[asyncpg.Record]] = {"any product": anyone, "popular": rng.sample(popular, KNOWN_ITEMS)}
    spelt: dict[str, Callable[[str], str]] = {
        "": lambda word: word,
        ", one misspelt": lambda word: misspelt(word, rng) if len(word) > 4 else word,  # noqa: PLR2004
    }
    print(f"{'mean reciprocal rank, two words of the title':<46}" + "".join(f"{name:>9}" for name in STATEMENTS))
    for who, products in sought.items():
        for how, spell in spelt.items():
            asked = []
            for product in products:
                first, second = rng.sample(product["title"].lower().split(), 2)
                asked.append((product["id"], f"{spell(first)} {second} "))
            cells = [f"{await reciprocal_rank(ask, asked):9.4f}" for ask in (await asking(connection)).values()]
            print(f"{who + how:<46}{''.join(cells)}", flush=True)


async def reciprocal_rank(ask: Ask, asked: list[tuple[str, str]]) -> float:
    """Return the mean of 1 / rank of the product that each query seeks, 0 where it is not found."""
    total = 0.0
    for product_id, text in asked:
        rows = await ask((text, LIMIT, None, None, None, None))
        total += next((1 / rank for rank, row in enumerate(rows, 1) if row["product_id"] == product_id), 0.0)
    return total / len(asked)


async def sizes_on_disk(connection: Connection) -> None:
    """Print what takes room."""
    rows = await connection.fetch(
        "select relname, pg_size_pretty(pg_relation_size(oid)) from pg_class "
        "where relname in ('products', 'products_search_vector', 'keyword_head', 'keyword_head_first', "
        "'keyword_head_second', 'vocabulary', 'vocabulary_similar') order by pg_relation_size(oid) desc"
    )
    print("  on disk: " + ", ".join(f"{name} {size}" for name, size in rows))


async def run(primary: PostgresServer, size: int, count: int) -> None:
    """Load *size* products unless they are there, and print all there is to print."""
    name = f"products_{size}"
    print(f"\n{size:,} products", flush=True)
    url = primary.url(name)
    if not primary.query(f"select 1 from pg_database where datname = '{name}'"):  # noqa: S608 - our own name
        primary.create_database(name)
        await load(url, size)
    connection = await asyncpg.connect(url, server_settings={"jit": "off"})
    await sizes_on_disk(connection)
    await speed(connection, size, count)
    await quality(connection, size)
    await connection.close()


def main() -> None:
    """Read the flags, run, clean up."""
    parser = argparse.ArgumentParser(prog="python -m bench.keyword", description="Keyword search beside ts_rank.")
    parser.add_argument("--sizes", default="10k,100k", help="numbers of products, for instance 10k,100k,1M")
    parser.add_argument("--queries", type=int, default=60, help="queries of each kind")
    parser.add_argument("--keep", type=Path, help="directory to make, use again and leave there")
    flags = parser.parse_args()
    # Socket paths are limited to 107 bytes.
    directory = flags.keep or Path(tempfile.mkdtemp(prefix="shortlist-bench-", dir="/tmp"))
    try:
        with server(directory) as primary:
            for size in flags.sizes.split(","):
                asyncio.run(run(primary, number(size), flags.queries))
    finally:
        if flags.keep is None:
            shutil.rmtree(directory)


if __name__ == "__main__":
    main()
