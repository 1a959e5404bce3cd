from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from storage.connection import Connection
from storage.named_queries import QUERIES
from tests.servers import Servers

ODD_TEXTS = ["", " ", "the", "!!! & | :* ' <->", "\\ '\\' ''", "'; drop table products; --", "a & !b", "é" * 500, "🎬"]


@pytest.fixture
async def connection(servers: Servers) -> AsyncIterator[Connection]:
    """A connection inside a transaction that is undone, which is quicker than a database for each test."""
    connection = await asyncpg.connect(servers.database_url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


async def keyword(
    connection: Connection,
    text: str,
    *,
    limit: int = 10,
    category: str | None = None,
    price_min: float | None = None,
    price_max: float | None = None,
    in_stock: bool | None = None,
) -> list[asyncpg.Record]:
    return await connection.fetch(QUERIES["keyword_candidates"], text, limit, category, price_min, price_max, in_stock)


async def insert_products(connection: Connection, *rows: tuple[str, str]) -> None:
    await connection.executemany("insert into products (id, title) values ($1, $2)", rows)


def ids(rows: list[asyncpg.Record], column: str = "product_id") -> list[str]:
    return [row[column] for row in rows]


class TestKeywordCandidates:
    async def test_products_with_all_terms_come_before_those_with_some(self, connection: Connection) -> None:
        await insert_products(
            connection, ("1", "space space space"), ("2", "a space of its own, and an adventure"), ("3", "cooking")
        )
        assert ids(await keyword(connection, "space adventure")) == ["2", "1"]

    async def test_two_of_three_terms_come_before_one(self, connection: Connection) -> None:
        await insert_products(connection, ("1", "red red red"), ("2", "small red shoe box"), ("3", "red wool"))
        assert ids(await keyword(connection, "red wool hat")) == ["3", "1", "2"]

    async def test_equal_scores_are_ordered_by_id(self, connection: Connection) -> None:
        await insert_products(connection, ("b", "tea"), ("a", "tea"), ("c", "tea"))
        assert ids(await keyword(connection, "tea")) == ["a", "b", "c"]

    async def test_partial_matches_are_left_out_when_full_ones_suffice(self, connection: Connection) -> None:
        await insert_products(connection, ("1", "green tea"), ("2", "green tea"), ("3", "green"))
        assert ids(await keyword(connection, "green tea", limit=2)) == ["1", "2"]

    async def test_words_of_attributes_are_found(self, connection: Connection) -> None:
        await connection.execute(
            """insert into products (id, title, attributes) values ('1', 'Alien', '{"genres": ["Horror"]}')"""
        )
        assert ids(await keyword(connection, "horror")) == ["1"]

    async def test_hidden_products_are_not_found(self, connection: Connection) -> None:
        await insert_products(connection, ("1", "tea"))
        await connection.execute("update products set hidden = true")
        assert await keyword(connection, "tea") == []

    async def test_filters_narrow_the_products(self, connection: Connection) -> None:
        await insert_products(connection, ("1", "tea"), ("2", "tea"), ("3", "tea"), ("4", "tea"))
        await connection.execute("update products set category = 'drink', price = 5 where id in ('1', '2')")
        await connection.execute("update products set price = 9, in_stock = false where id in ('2', '3')")
        assert ids(await keyword(connection, "tea", category="drink")) == ["1", "2"]
        assert sorted(ids(await keyword(connection, "tea", price_min=6))) == ["2", "3"]
        assert ids(await keyword(connection, "tea", price_max=6)) == ["1"]
        assert sorted(ids(await keyword(connection, "tea", in_stock=True))) == ["1", "4"]
        assert sorted(ids(await keyword(connection, "tea", in_stock=False))) == ["2", "3"]

    @pytest.mark.parametrize("text", ODD_TEXTS)
    async def test_no_text_is_an_error(self, connection: Connection, text: str) -> None:
        await insert_products(connection, ("1", "tea"))
        assert await keyword(connection, text) == []

    async def test_the_text_index_is_used(self, database_url: str) -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            "insert into products (id, title) select number::text, 'tea ' || md5(number::text) "
            "from generate_series(1, 20000) as number"
        )
        await connection.execute("analyze products")
        await connection.execute("set plan_cache_mode to force_generic_plan")
        await connection.execute(f"prepare candidates as {QUERIES['keyword_candidates']}")
        plan = await connection.fetch(
            "explain execute candidates('tea d3d9446802a44259755d38e6d163e820', 200, null, null, null, null)"
        )
        await connection.close()
        text = "\n".join(row[0] for row in plan)
        assert "Seq Scan on products" not in text
        assert "products_search_vector" in text


class TestProductsById:
    async def test_ids_that_do_not_exist_are_left_out(self, connection: Connection) -> None:
        await insert_products(connection, ("1", "tea"), ("2", "cup"))
        assert ids(await connection.fetch(QUERIES["products_by_id"], ["2", "9"]), "id") == ["2"]


class TestPopularProducts:
    async def test_the_most_popular_come_first_and_the_uncounted_follow(self, connection: Connection) -> None:
        await insert_products(connection, *((number, "tea") for number in "123456"))
        await connection.execute("update products set hidden = true where id = '5'")
        await connection.execute("update products set in_stock = false where id = '6'")
        await connection.execute(
            "insert into product_popularity values ('3', 0.5, 1, 'v'), ('2', 0.9, 2, 'v'), ('4', 0.5, 1, 'v'), "
            "('5', 1, 9, 'v'), ('6', 1, 9, 'v'), ('gone', 1, 9, 'v')"
        )
        rows = await connection.fetch(QUERIES["popular_products"], 10, None, None, None, None)
        assert [tuple(row)[:2] for row in rows] == [("2", pytest.approx(0.9)), ("3", 0.5), ("4", 0.5), ("1", 0.0)]
        assert ids(await connection.fetch(QUERIES["popular_products"], 2, None, None, None, None)) == ["2", "3"]

    async def test_a_category_narrows_them(self, connection: Connection) -> None:
        await insert_products(connection, ("1", "tea"), ("2", "cup"))
        await connection.execute("update products set category = 'drink' where id = '1'")
        assert ids(await connection.fetch(QUERIES["popular_products"], 10, "drink", None, None, None)) == ["1"]


class TestPopularityFeatures:
    async def test_each_product_has_one_in_the_version_in_force(self, connection: Connection) -> None:
        assert await connection.fetch(QUERIES["popularity_features"], ["1", "2"]) == []
        await connection.execute("insert into popularity_versions values ('v', '1998-04-22 12:00+00', 30, true)")
        await connection.execute("insert into product_popularity values ('1', 0.5, 3, 'v')")
        rows = await connection.fetch(QUERIES["popularity_features"], ["1", "2"])
        assert [tuple(row) for row in rows] == [("1", 0.5, "v"), ("2", 0.0, "v")]


class TestUserQueries:
    @pytest.fixture(autouse=True)
    async def _events(self, connection: Connection) -> None:
        await connection.execute("insert into users (id) values ('a'), ('b'), ('c')")
        await connection.execute(
            "insert into events (id, user_id, product_id, type, value, occurred_at) values "
            "('1', 'b', 'p', 'view', null, '2020-01-01'), ('2', 'b', 'q', 'purchase', 2, '2020-03-01'), "
            "('3', 'b', 'r', 'rating', 5, '2020-02-01'), ('4', 'c', 'p', 'click', null, '2020-02-01')"
        )

    async def test_the_history_is_most_recent_first(self, connection: Connection) -> None:
        rows = await connection.fetch(QUERIES["user_history"], "b", 2)
        assert [(row["product_id"], row["type"]) for row in rows] == [("q", "purchase"), ("r", "rating")]

    async def test_users_with_most_events_are_sampled_first(self, connection: Connection) -> None:
        assert ids(await connection.fetch(QUERIES["sample_users"], 2), "user_id") == ["b", "c"]

    async def test_a_user_exists_or_does_not(self, connection: Connection) -> None:
        assert await connection.fetchval(QUERIES["user_exists"], "a") is True
        assert await connection.fetchval(QUERIES["user_exists"], "z") is False
