"""How the server plans the statements of the serving path over a large catalogue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import pytest

from catalogue.vocabulary import refresh_keyword_head, refresh_vocabulary
from storage.connection import Connection
from storage.named_queries import QUERIES
from tests.servers import TEMPLATE, Servers

Argument = str | int | float | bool | Sequence[str | None] | None
Plan = dict[str, Any]

IDS = [f"p{number}" for number in range(0, 100_000, 500)]
NEW = ["p1", "new"]
WEIGHTS = (["view", "click", "rating"], ["1", "2", "5"])
CATALOGUE = """
    alter table products disable trigger user;
    drop index products_search_vector;
    insert into products (id, title, description, category, brand, price, in_stock, hidden)
    select
        'p' || n, 'common k' || n % 1000 || ' ' || substr(md5(n::text), 1, 8), 'of rubber', 'c' || n % 300,
        'b' || n % 2000, n % 500, n % 10 <> 0, n % 100 = 0
    from generate_series(1, 100000) as n;
    create index products_search_vector on products using gin (search_vector, category) with (fastupdate = off);
    alter table products enable trigger user;
    insert into product_changes (product_id, operation) select id, 'upsert' from products;
    insert into popularity_versions values ('v', now(), 30, true);
    insert into product_popularity
    select 'p' || n, 1 - n / 100000.0, 100000 - n, 'v' from generate_series(1, 60000) as n;
    insert into product_embeddings (product_id, encoder_version, embedding)
    select 'p' || n, 'e', decode('00000000', 'hex') from generate_series(1, 100000) as n;
    select ensure_event_partitions(now() - interval '4 months', now());
    insert into events (id, user_id, product_id, type, occurred_at)
    select
        n::text, 'u' || n % 5000, 'p' || n % 100000, case when n % 20 = 0 then 'purchase' else 'view' end,
        now() - interval '5 months' + n * interval '1.75 minutes'
    from generate_series(1, 200000) as n;
    insert into event_ids select n::text from generate_series(1, 200000) as n;
    insert into users (id, event_count) select 'u' || n, 40 from generate_series(0, 4999) as n;
    insert into embedding_cursors values ('e', '0', 0);
    insert into impressions (request_id, kind, product_ids, ranks, scores)
    select 'r' || n, 'search', '{p1}', '{1}', '{0.5}' from generate_series(1, 10000) as n;
"""

SAMPLES: dict[str, list[Sequence[Argument]]] = {
    # Arguments of every query that a request, or a loop of a serving process, may wait for; several where they matter.
    "keyword_candidates": [
        ("common", 200, None, None, None, None),
        ("comon k71 rubb", 200, None, 10, 400, True),
        ("common", 200, None, 10, 12, None),
        ("common rubber k7", 200, "c7", None, None, None),
    ],
    "keyword_rare_word": [("k7", 200, None, None, None, None), ("k7", 200, "c7", 10, 400, True)],
    "popularity_features": [(IDS,)],
    "popular_products": [
        (500, None, None, None, None),
        (500, "c7", True, None, None),
        (500, "none such", None, None, None),
        (500, None, None, 10, 12),
    ],
    "products_by_id": [(IDS,), (["p1"],)],
    "product_features": [(IDS,)],
    "product_attributes": [("", 10_000), ("p5", 10_000)],
    "catalogue_position": [()],
    "changed_products": [("0", 0, [], 1000, "e"), ("700", 0, ["710"], 1000, "e")],
    "user_history": [("u7", 50)],
    "user_interactions": [("u7", *WEIGHTS, 5, 500, None, True), ("u7", *WEIGHTS, 5, 500, 40, False)],
    "user_exists": [("u7",)],
    "user_event_count": [("u7",)],
    "sample_users": [(20,)],
    "upsert_products": [
        (NEW, *[NEW] * 4, ["1", "2"], [None, None], ["t", "f"], [None, "f"], NEW, [None, "2026-01-01"], ["{}", "{}"])
    ],
    "delete_product": [("p1",)],
    "insert_events": [
        (NEW, NEW, NEW, ["view", "view"], [None, "1"], ["2026-01-01", "2026-02-01"], [None, "r"]),
    ],
    "insert_impression": [("r", "2026-01-01", "search", None, "q", NEW, ["1", "2"], ["1", "2"], "[]", "{}")],
    "limit_statements": [("1000",)],
    "lock_impressions": [(NEW,)],
    "changes_to_embed": [("0", 0, [], 1000, "e")],
    "write_embeddings": [("e", NEW, NEW, NEW, NEW, NEW, ["{}", "{}"], ["\\x00000000"] * 2, ["\\x" + "00" * 16] * 2)],
    "embedding_start": [("e", "5-7")],
    "move_embedding_cursor": [("e", "5", 7)],
    "embedding_backlog": [("e",)],
    "feed_before_newest": [(1000,)],
    "beat": [()],
    "last_beat": [()],
    "consistency_token": [()],
    "usable_connections": [()],
    "primary_timeline": [()],
}

ELSEWHERE = {
    # Imports: one process, whole files.
    *("make_incoming_products", "drop_superseded_products", "merge_incoming_products"),
    *("gather_text_entries", "enter_text_at_once", "enter_gathered_text"),
    *("make_incoming_events", "merge_incoming_events", "empty_incoming_events", "ensure_event_partitions"),
    *("make_incoming_users", "merge_incoming_users", "empty_incoming_users"),
    # Maintenance: every few minutes, in one process.
    *("make_months_ahead", "old_event_months", "set_lock_timeout", "detach_event_month"),
    *("forget_newest_changes", "find_newest_changes", "remove_superseded_changes"),
    *("lead_maintenance", "lead_embedding", "maintenance_runs", "record_maintenance_run"),
    *("decayed_counts", "popularity_state", "lock_popularity", "begin_popularity", "counted_popularity"),
    *("remove_forgotten_popularity", "write_popularity", "deactivate_popularity", "activate_popularity"),
    "prune_popularity_versions",
    *("lock_vocabulary", "vocabulary_state", "count_vocabulary", "add_to_vocabulary", "vocabulary_counted"),
    *("vocabulary_extended", "lock_keyword_head", "unlock_keyword_head", "keyword_head_state", "keyword_head_moves"),
    *("move_in_keyword_head", "keyword_head_moved"),
}

NEEDED_ELSEWHERE = {
    "events_time": "the end of the data window and the counts of popularity read the latest events",
    "impressions_time": "training and replay read impressions by time",
}


def literal(argument: Argument) -> str:
    """Return *argument* as SQL text of no declared type."""
    if argument is None:
        return "null"
    if isinstance(argument, str | int | float | bool):
        return "'" + str(argument).replace("'", "''") + "'"
    return literal("{" + ",".join("null" if item is None else json.dumps(item) for item in argument) + "}")


def nodes(plan: Plan) -> Iterator[Plan]:
    """Yield *plan*'s nodes, the root first."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


async def make_catalogue(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(CATALOGUE)
        await refresh_vocabulary(connection)
        await refresh_keyword_head(connection, head=20_000)
        await connection.execute("analyze")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def large_catalogue_url(servers: Servers) -> Iterator[str]:
    """The DSN of a database of 100,000 products and 200,000 events in several months; takes some ten seconds."""
    name = "large_catalogue"
    servers.primary.create_database(name, template=TEMPLATE)
    url = servers.primary.url(name)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(make_catalogue(url))).result()
    yield url
    servers.primary.query(f'drop database "{name}" with (force)')


@pytest.fixture
async def connection(large_catalogue_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(large_catalogue_url, server_settings={"jit": "off"})
    yield connection
    await connection.close()


async def plans(connection: Connection, name: str) -> list[Plan]:
    """The plan of every node of the query, for each of its samples: as planned for any arguments and for these."""
    await connection.execute(f"prepare {name} as {QUERIES[name]}")
    found: list[Plan] = []
    for mode in ("force_generic_plan", "force_custom_plan"):
        await connection.execute(f"set plan_cache_mode to {mode}")
        for sample in SAMPLES[name]:
            arguments = f"({', '.join(map(literal, sample))})" if sample else ""
            text = await connection.fetchval(f"explain (format json) execute {name}{arguments}")
            found += nodes(json.loads(text)[0]["Plan"])
    return found


class TestServingPath:
    def test_every_query_is_known_to_be_of_it_or_not(self) -> None:
        unknown = QUERIES.keys() - SAMPLES.keys() - ELSEWHERE
        assert not unknown, (
            f"{', '.join(sorted(unknown))}: add sample arguments to SAMPLES in {__file__}, "
            "or the name to ELSEWHERE if neither a request nor a loop of a serving process waits for it"
        )
        assert (SAMPLES.keys() | ELSEWHERE) - QUERIES.keys() == set()

    @pytest.mark.parametrize("name", sorted(SAMPLES))
    async def test_it_never_reads_products_or_events_as_a_whole(self, connection: Connection, name: str) -> None:
        read = {node["Relation Name"] for node in await plans(connection, name) if node["Node Type"] == "Seq Scan"}
        assert {table for table in read if table.startswith(("products", "events"))} == set()

    async def test_the_answer_of_a_keyword_search_does_not_depend_on_the_order_of_workers(
        self, connection: Connection
    ) -> None:
        found = await plans(connection, "keyword_candidates") + await plans(connection, "keyword_rare_word")
        kinds = {node["Node Type"] for node in found}
        assert kinds & {"Gather", "Gather Merge"} == set()


class TestIndexes:
    async def test_each_is_needed(self, connection: Connection) -> None:
        used = {node.get("Index Name") for name in SAMPLES for node in await plans(connection, name)}
        rows = await connection.fetch(
            "select indexrelid::regclass::text as name, coalesce(inhparent, indexrelid)::regclass::text as index "
            "from pg_index join pg_class on pg_class.oid = indrelid left join pg_inherits on inhrelid = indexrelid "
            "where relnamespace = 'public'::regnamespace and not indisunique"
        )
        unused = {row["index"] for row in rows} - {row["index"] for row in rows if row["name"] in used}
        assert unused == set(NEEDED_ELSEWHERE)
