from __future__ import annotations

import asyncio

import asyncpg
import pytest

from catalogue import vocabulary
from catalogue.importing import import_products
from catalogue.readers import Row
from catalogue.vocabulary import VocabularyRefresh, refresh_keyword_head, refresh_vocabulary
from storage.connection import Connection
from storage.named_queries import QUERIES


async def insert(connection: Connection, **titles: str) -> None:
    await connection.executemany("insert into products (id, title) values ($1, $2)", list(titles.items()))


async def words(connection: Connection) -> dict[str, int]:
    return {row["word"]: row["documents"] for row in await connection.fetch("select word, documents from vocabulary")}


async def version(connection: Connection) -> str:
    row = await connection.fetchrow(QUERIES["catalogue_position"])
    assert row is not None
    return str(row["text_search_version"])


async def set_popularity(connection: Connection, version: str, **popularity: float) -> None:
    await connection.execute("delete from product_popularity")
    await connection.executemany(
        f"insert into product_popularity values ($1, $2, 1, '{version}')",  # noqa: S608
        list(popularity.items()),
    )
    await connection.execute("update popularity_versions set active = false")
    await connection.execute("insert into popularity_versions values ($1, now(), 30, true)", version)


async def head(connection: Connection) -> list[tuple[str, int]]:
    rows = await connection.fetch("select product_id, tier from keyword_head order by tier, product_id")
    return [(row["product_id"], row["tier"]) for row in rows]


class TestRefreshVocabulary:
    async def test_every_word_is_counted_once_a_product(self, connection: Connection) -> None:
        await insert(connection, a="red red wine", b="red film")
        assert await refresh_vocabulary(connection) == VocabularyRefresh(3, recounted=True)
        assert await words(connection) == {"red": 2, "wine": 1, "film": 1}

    async def test_nothing_is_done_when_nothing_changed(self, connection: Connection) -> None:
        await insert(connection, a="red wine")
        await refresh_vocabulary(connection)
        before = await version(connection)
        assert await refresh_vocabulary(connection) == VocabularyRefresh(0, recounted=False)
        assert await version(connection) == before

    async def test_a_change_that_no_word_depends_on_makes_no_version(self, connection: Connection) -> None:
        await insert(connection, a="red wine")
        await refresh_vocabulary(connection)
        before = await version(connection)
        await connection.execute("update products set price = 5")
        assert await refresh_vocabulary(connection) == VocabularyRefresh(0, recounted=True)
        assert await version(connection) == before

    async def test_words_that_came_and_went_make_a_version(self, connection: Connection) -> None:
        await insert(connection, a="red wine", b="film")
        await refresh_vocabulary(connection)
        before = await version(connection)
        await connection.execute("delete from products where id = 'b'")
        await refresh_vocabulary(connection)
        assert await words(connection) == {"red": 1, "wine": 1}
        assert await version(connection) != before

    async def test_a_large_catalogue_is_given_its_new_words_only(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await insert(connection, **{f"p{number:02}": "red wine" for number in range(30)})
        await refresh_vocabulary(connection)
        monkeypatch.setattr(vocabulary, "SMALL", 0)
        await insert(connection, new="red cider")
        assert await refresh_vocabulary(connection) == VocabularyRefresh(1, recounted=False)
        assert await words(connection) == {"red": 30, "wine": 30, "cider": 1}

    async def test_a_large_catalogue_is_counted_anew_when_a_tenth_of_it_changed(
        self, connection: Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await insert(connection, **{f"p{number:02}": "red wine" for number in range(30)})
        await refresh_vocabulary(connection)
        monkeypatch.setattr(vocabulary, "SMALL", 0)
        for new in ("x", "y"):
            await insert(connection, **{new: "red cider"})
            assert await refresh_vocabulary(connection) == VocabularyRefresh(int(new == "x"), recounted=False)
        await insert(connection, z="red cider")
        assert await refresh_vocabulary(connection) == VocabularyRefresh(2, recounted=True)
        assert await words(connection) == {"red": 33, "wine": 30, "cider": 3}

    async def test_a_change_committed_out_of_order_is_counted_later(
        self, connection: Connection, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await insert(connection, **{f"p{number:02}": "red wine" for number in range(30)})
        await refresh_vocabulary(connection)
        monkeypatch.setattr(vocabulary, "SMALL", 0)
        early = await asyncpg.connect(database_url)
        try:
            transaction = early.transaction()
            await transaction.start()
            await insert(early, early="red mead")
            await insert(connection, late="red cider")
            await refresh_vocabulary(connection)
            assert set(await words(connection)) == {"red", "wine", "cider"}
            await transaction.commit()
        finally:
            await early.close()
        await refresh_vocabulary(connection)
        assert set(await words(connection)) == {"red", "wine", "cider", "mead"}

    async def test_products_whose_changes_were_forgotten_are_counted(self, connection: Connection) -> None:
        await insert(connection, a="red wine")
        await connection.execute("truncate product_changes")
        assert await refresh_vocabulary(connection) == VocabularyRefresh(2, recounted=True)
        assert await refresh_vocabulary(connection) == VocabularyRefresh(0, recounted=False)

    async def test_after_a_restore_from_a_dump_everything_is_counted_anew(self, connection: Connection) -> None:
        await insert(connection, a="red wine")
        await refresh_vocabulary(connection)
        await connection.execute("update keyword_state set counted_transaction = '1000000000'")
        await insert(connection, b="red film")
        assert await refresh_vocabulary(connection) == VocabularyRefresh(2, recounted=True)

    async def test_an_import_leaves_a_vocabulary(self, connection: Connection, database_url: str) -> None:
        await import_products(database_url, [Row(1, {"id": "a", "title": "red wine"})])
        assert await words(connection) == {"red": 1, "wine": 1}
        assert await head(connection) == [("a", 0)]


class TestRefreshKeywordHead:
    async def test_the_most_popular_products_are_in_it_the_first_few_apart(self, connection: Connection) -> None:
        await insert(connection, a="tea", b="tea", c="tea", d="tea")
        await set_popularity(connection, "v1", a=0.1, b=0.9, c=0.5, d=0.3, gone=1.0)
        assert await refresh_keyword_head(connection, head=3, first_tier=1) == 3
        assert await head(connection) == [("b", 0), ("c", 1), ("d", 1)]

    async def test_places_that_popularity_leaves_free_go_to_others_by_id(self, connection: Connection) -> None:
        await insert(connection, a="tea", b="tea", c="tea")
        await set_popularity(connection, "v1", c=0.5)
        await refresh_keyword_head(connection, head=2, first_tier=1)
        assert await head(connection) == [("c", 0), ("a", 1)]

    async def test_only_what_changed_moves(self, connection: Connection) -> None:
        await insert(connection, a="tea", b="tea", c="tea", d="tea")
        await set_popularity(connection, "v1", a=0.9, b=0.8, c=0.3, d=0.2)
        await refresh_keyword_head(connection, head=3, first_tier=1)
        await set_popularity(connection, "v2", a=0.9, b=0.8, c=0.1, d=0.2)
        assert await refresh_keyword_head(connection, head=3, first_tier=1) == 2
        assert await head(connection) == [("a", 0), ("b", 1), ("d", 1)]

    async def test_nothing_is_done_for_the_same_popularity_and_products(self, connection: Connection) -> None:
        await insert(connection, a="tea")
        await set_popularity(connection, "v1", a=0.9)
        await refresh_keyword_head(connection)
        before = await version(connection)
        assert await refresh_keyword_head(connection) == 0
        assert await version(connection) == before

    async def test_a_move_makes_a_version_and_touches_neither_products_nor_their_feed(
        self, connection: Connection
    ) -> None:
        await insert(connection, a="tea")
        state = "select ctid, updated_at, (select count(*) from product_changes) from products"
        before, products = await version(connection), await connection.fetch(state)
        assert await refresh_keyword_head(connection) == 1
        assert await version(connection) != before
        assert await connection.fetch(state) == products

    async def test_products_in_it_follow_what_is_written(self, connection: Connection) -> None:
        await insert(connection, a="tea", b="tea", c="tea")
        await refresh_keyword_head(connection)
        await connection.execute("update products set title = 'red cup', price = 5, hidden = true where id = 'a'")
        await connection.execute("delete from products where id = 'b'")
        await connection.execute("update products set id = 'd' where id = 'c'")
        rows = await connection.fetch("select product_id, search_vector::text, price, hidden from keyword_head")
        assert [tuple(row) for row in rows] == [("a", "'cup':2A 'red':1A", 5, True)]
        await connection.execute("truncate products cascade")
        assert await head(connection) == []

    async def test_a_product_that_a_writer_holds_waits_for_the_next_time(
        self, connection: Connection, database_url: str
    ) -> None:
        await insert(connection, a="tea", b="tea")
        writer = await asyncpg.connect(database_url)
        try:
            transaction = writer.transaction()
            await transaction.start()
            await writer.execute("update products set title = 'cup' where id = 'a'")
            assert await refresh_keyword_head(connection) == 1
            await transaction.commit()
        finally:
            await writer.close()
        assert await refresh_keyword_head(connection) == 1
        assert await connection.fetchval("select search_vector::text from keyword_head where product_id = 'a'") == (
            "'cup':1A"
        )

    async def test_writers_beside_it_are_neither_lost_nor_locked_out(
        self, connection: Connection, database_url: str
    ) -> None:
        products = {f"p{number:03}": "tea" for number in range(300)}
        await insert(connection, **products)
        writers = [await asyncpg.connect(database_url) for _ in range(3)]

        async def write(writer: Connection, number: int) -> None:
            for product_id in sorted(products, reverse=number % 2 == 0)[:100]:
                await writer.execute("update products set title = title || ' x' where id = $1", product_id)

        async def refresh() -> None:
            for turn in range(10):
                await set_popularity(
                    connection, f"v{turn}", **{key: (hash_of(key) * (turn + 7)) % 97 / 97 for key in products}
                )
                await refresh_keyword_head(connection, head=200, first_tier=20)

        def hash_of(key: str) -> int:
            return int(key[1:]) * 31

        try:
            await asyncio.gather(refresh(), *(write(writer, number) for number, writer in enumerate(writers)))
        finally:
            for writer in writers:
                await writer.close()
        stale = await connection.fetchval(
            "select count(*) from keyword_head join products on id = product_id "
            "where keyword_head.search_vector <> products.search_vector"
        )
        assert stale == 0
