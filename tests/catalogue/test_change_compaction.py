from __future__ import annotations

import asyncpg

from catalogue.change_compaction import compact_changes
from storage.connection import Connection
from storage.named_queries import QUERIES


async def age(connection: Connection) -> None:
    await connection.execute("update product_changes set changed_at = changed_at - interval '2 days'")


async def changes(connection: Connection) -> list[tuple[str, str]]:
    rows = await connection.fetch("select product_id, operation from product_changes order by transaction, position")
    return [(row["product_id"], row["operation"]) for row in rows]


async def position(connection: Connection) -> str:
    row = await connection.fetchrow(QUERIES["catalogue_position"])
    assert row is not None
    return str(row["seen"])


async def write(connection: Connection, *product_ids: str) -> None:
    """Write each product anew."""
    for product_id in product_ids:
        await connection.execute(
            "insert into products (id, title) values ($1, 'tea')"
            " on conflict (id) do update set title = products.title || '.'",
            product_id,
        )


async def embed(connection: Connection, product_id: str) -> None:
    await connection.execute(
        "insert into product_embeddings (product_id, encoder_version, embedding) values ($1, 'e', '\\x00000000')",
        product_id,
    )


class TestCompactChanges:
    async def test_the_latest_change_of_each_product_stays(self, connection: Connection) -> None:
        await write(connection, "a", "b", "a", "c", "a", "b")
        await connection.execute("delete from products where id = 'c'")
        await age(connection)
        last = await position(connection)
        assert await compact_changes(connection, older_than_h=24, batch=2) == 4
        assert await changes(connection) == [("a", "upsert"), ("b", "upsert"), ("c", "delete")]
        assert await position(connection) == last
        assert await compact_changes(connection, older_than_h=24) == 0

    async def test_young_changes_stay(self, connection: Connection) -> None:
        await write(connection, "a", "a")
        assert await compact_changes(connection, older_than_h=24) == 0

    async def test_an_embedding_does_not_supersede_a_write(self, connection: Connection) -> None:
        await write(connection, "a", "a")
        await embed(connection, "a")
        await age(connection)
        assert await compact_changes(connection, older_than_h=24) == 1
        assert await changes(connection) == [("a", "upsert"), ("a", "embed")]

    async def test_what_an_open_transaction_may_precede_supersedes_nothing(
        self, connection: Connection, database_url: str
    ) -> None:
        """Else the position up to which the feed can be read would go back."""
        await write(connection, "a")
        other = await asyncpg.connect(database_url)
        try:
            async with other.transaction():
                await write(other, "b")
                await write(connection, "a")
                await age(connection)
                bound = (await position(connection)).partition("+")[0]
                assert await compact_changes(connection, older_than_h=24) == 0
                assert (await position(connection)).partition("+")[0] == bound
        finally:
            await other.close()
        assert await compact_changes(connection, older_than_h=24) == 1
