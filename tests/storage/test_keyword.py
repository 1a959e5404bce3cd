"""Search by words over the tiers and the vocabulary; what holds without them is in test_queries.py."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from catalogue.vocabulary import refresh_keyword_head, refresh_vocabulary
from storage.connection import Connection
from storage.named_queries import QUERIES
from tests.servers import Servers

FILMS = {
    "1": "space adventure",
    "2": "space travel",
    "3": "great adventure of a cook",
    "4": "cooking at home",
    "5": "adventurous home",
    "6": "wine and space adventure with wizards",
    "7": "wizard",
}
LONG = " ".join(f"word{number}" for number in range(100))[:500]


@pytest.fixture
async def connection(servers: Servers) -> AsyncIterator[Connection]:
    """A connection inside a transaction that is undone, over films that the vocabulary and the head know."""
    connection = await asyncpg.connect(servers.database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.executemany("insert into products (id, title) values ($1, $2)", list(FILMS.items()))
    await refresh_vocabulary(connection)
    await refresh_keyword_head(connection, head=4, first_tier=2)
    yield connection
    await transaction.rollback()
    await connection.close()


async def found(
    connection: Connection,
    text: str,
    *,
    limit: int = 10,
    category: str | None = None,
    price_min: int | None = None,
    price_max: int | None = None,
) -> list[str]:
    rows = await connection.fetch(QUERIES["keyword_candidates"], text, limit, category, price_min, price_max, None)
    assert [row["product_id"] for row in rows] == [
        row["product_id"] for row in sorted(rows, key=lambda row: (-row["score"], row["product_id"]))
    ]
    return [row["product_id"] for row in rows]


class TestTiers:
    async def test_products_of_every_tier_are_found_once(self, connection: Connection) -> None:
        assert sorted(await found(connection, "adventure")) == ["1", "3", "5", "6"]

    async def test_popular_products_suffice_when_there_are_enough(self, connection: Connection) -> None:
        assert await found(connection, "space", limit=2) == ["1", "2"]

    async def test_a_product_just_written_is_found_at_once(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('8', 'space adventure of a zyzzyva')")
        assert await found(connection, "zyzzyva") == ["8"]
        assert (await found(connection, "space adventure zyzzyva"))[0] == "8"

    async def test_a_changed_product_of_the_head_is_found_by_its_new_words_only(self, connection: Connection) -> None:
        await connection.execute("update products set title = 'gardening' where id = '1'")
        assert await found(connection, "gardening") == ["1"]
        assert await found(connection, "space travel") == ["2", "6"]

    async def test_filters_apply_before_the_bound_on_rows(self, connection: Connection) -> None:
        await connection.execute(
            "insert into products (id, title, category, price) "
            "select 's' || n, 'space', case when n = 4999 then 'rare' end, case when n > 4997 then 7 else 9 end "
            "from generate_series(1, 5000) as n"
        )
        assert await found(connection, "space", category="rare") == ["s4999"]
        assert await found(connection, "space", price_max=7) == ["s4998", "s5000", "s4999"]
        assert await found(connection, "space", price_min=8, price_max=9, category="rare") == []

    async def test_the_revision_is_the_time_of_the_last_change(self, connection: Connection) -> None:
        rows = await connection.fetch(QUERIES["keyword_candidates"], "adventure", 10, None, None, None, None)
        revisions = await connection.fetch(
            "select id, (extract(epoch from updated_at) * 1000000)::bigint from products where id = any ($1::text[])",
            [row["product_id"] for row in rows],
        )
        assert {row["product_id"]: row["revision"] for row in rows} == dict(map(tuple, revisions))

    async def test_popularity_decides_between_equal_texts(self, connection: Connection) -> None:
        await connection.execute(
            "insert into products (id, title) select n::text, 'harp' from generate_series(11, 99) as n"
        )
        await connection.execute("insert into product_popularity values ('50', 0.8, 1, 'v')")
        await refresh_vocabulary(connection)
        await refresh_keyword_head(connection)
        assert await found(connection, "harp", limit=3) == ["50", "11", "12"]

    @pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
    async def test_the_answer_does_not_depend_on_the_plan(self, connection: Connection, mode: str) -> None:
        await connection.execute(f"set local plan_cache_mode to {mode}")
        assert await found(connection, "space adventure wizard") == ["6", "1", "7", "2", "5", "3"]


class TestRelaxation:
    async def test_all_terms_then_all_but_one_then_the_rarest_then_any(self, connection: Connection) -> None:
        assert await found(connection, "space adventure wizard") == ["6", "1", "7", "2", "5", "3"]

    async def test_the_rarest_term_comes_before_the_others(self, connection: Connection) -> None:
        assert (await found(connection, "adventure travel"))[0] == "2"

    async def test_a_query_of_many_terms_is_answered(self, connection: Connection) -> None:
        assert await found(connection, LONG) == []
        assert sorted(await found(connection, " ".join(FILMS.values()))) == sorted(FILMS)

    async def test_a_term_that_is_nowhere_counts_for_nothing(self, connection: Connection) -> None:
        assert await found(connection, "qqqqq space travel") == ["2", "1", "6"]


class TestCorrection:
    @pytest.mark.parametrize("text", ["adventrue", "advanture", "adventur", "advventure", "addventure"])
    async def test_a_misspelt_word_finds_what_the_right_one_finds(self, connection: Connection, text: str) -> None:
        assert await found(connection, text + " ") == await found(connection, "adventure")

    async def test_the_last_word_may_be_unfinished(self, connection: Connection) -> None:
        assert await found(connection, "wiz") == ["7", "6"]
        assert (await found(connection, "space adv"))[:2] == ["1", "6"]

    async def test_a_finished_word_is_not_completed(self, connection: Connection) -> None:
        assert await found(connection, "wi ") == []

    async def test_a_word_that_a_product_holds_is_taken_as_it_is(self, connection: Connection) -> None:
        await connection.execute("insert into products (id, title) values ('8', 'adventrue')")
        assert await found(connection, "adventrue") == ["8"]

    async def test_without_a_vocabulary_words_are_still_found(self, connection: Connection) -> None:
        await connection.execute("delete from vocabulary")
        await connection.execute("update keyword_state set documents = 0")
        assert sorted(await found(connection, "adventure")) == ["1", "3", "5", "6"]
        assert await found(connection, "adventrue") == []


class TestKeywordRareWord:
    @pytest.mark.parametrize("text", ["adventure", "Wizards!", "space ", "wizard cook", "adventrue", "wiz", "the", ""])
    @pytest.mark.parametrize("limit", [2, 10])
    async def test_it_says_what_the_other_statement_says_or_nothing(
        self, connection: Connection, text: str, limit: int
    ) -> None:
        asked = (text, limit, None, None, None, None)
        rare = await connection.fetch(QUERIES["keyword_rare_word"], *asked)
        every = await connection.fetch(QUERIES["keyword_candidates"], *asked)
        assert rare in (every, [])
        assert bool(rare) == (text in {"adventure", "Wizards!", "space "})

    async def test_filters_apply(self, connection: Connection) -> None:
        await connection.execute("update products set category = 'c', price = 5 where id = '3'")
        await connection.execute("update products set in_stock = false where id = '5'")
        await connection.execute("update products set hidden = true where id = '6'")
        for filters, expected in {
            (None, None, None, None): ["1", "3", "5"],
            ("c", None, None, None): ["3"],
            (None, 4, 6, None): ["3"],
            (None, 6, None, None): [],
            (None, None, None, False): ["5"],
        }.items():
            rows = await connection.fetch(QUERIES["keyword_rare_word"], "adventure", 10, *filters)
            assert sorted(row["product_id"] for row in rows) == expected

    async def test_a_word_that_many_products_hold_is_not_for_it(self, connection: Connection) -> None:
        await connection.execute(
            "insert into products (id, title) select 'n' || n, 'space' from generate_series(1, 60) as n"
        )
        await refresh_vocabulary(connection)
        assert await connection.fetch(QUERIES["keyword_rare_word"], "space", 10, None, None, None, None) == []


class TestOnAReadReplica:
    async def test_it_answers_as_the_primary_does(self, servers: Servers, database_url: str) -> None:
        primary = await asyncpg.connect(database_url)
        await primary.executemany("insert into products (id, title) values ($1, $2)", list(FILMS.items()))
        await refresh_vocabulary(primary)
        await refresh_keyword_head(primary, head=4, first_tier=2)
        servers.replay()
        replica = await asyncpg.connect(servers.replica_url_of(database_url))
        try:
            for text in ("adventrue", "space adventure wizard", "wiz", LONG):
                query = (QUERIES["keyword_candidates"], text, 10, None, None, None, None)
                assert await replica.fetch(*query) == await primary.fetch(*query)
        finally:
            await replica.close()
            await primary.close()
