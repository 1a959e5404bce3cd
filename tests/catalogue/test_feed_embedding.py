from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

import asyncpg
import numpy as np
import pytest
from numpy.typing import NDArray

from artifacts.encoder import OnnxEncoder
from artifacts.product_text import text_digest
from catalogue.feed_embedding import PAGE, FeedEmbedding, start_of
from storage.connection import Connection
from storage.feed_position import FeedPosition
from storage.primary_session import PrimarySession, primary_session
from tests.catalogue.live_artifacts import LiveArtifacts


class WatchedEncoder(OnnxEncoder):
    """The tiny encoder, with a note of every text, and something to do in the middle of the work."""

    texts: list[str]
    meanwhile: Callable[[], None] | None = None

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        if "unreadable" in texts:
            raise ValueError("the tokenizer gives up")
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return super().encode(texts)


@pytest.fixture
def encoder(tmp_path: Path) -> WatchedEncoder:
    artifacts = LiveArtifacts(tmp_path)
    artifacts.activate("e1")
    encoder = WatchedEncoder(tmp_path / "made")
    encoder.texts = []
    return encoder


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[PrimarySession]:
    async with primary_session(database_url, application="tests") as session:
        yield session


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def embedding(session: PrimarySession, encoder: WatchedEncoder, executor: Executor) -> FeedEmbedding:
    return FeedEmbedding(session, "e1", encoder, executor=executor, start=FeedPosition())


@pytest.fixture
def at_once(database_url: str) -> Callable[[str], Callable[[], None]]:
    """A statement to be run from another thread, while the loop of the test goes on."""

    def later(statement: str) -> Callable[[], None]:
        async def run() -> None:
            connection = await asyncpg.connect(database_url)
            await connection.execute(statement)
            await connection.close()

        return lambda: asyncio.run(run())

    return later


async def embed(embedding: FeedEmbedding) -> None:
    """Go on until nothing is left."""
    async with asyncio.timeout(20):
        while await embedding.step() or not embedding.caught_up:
            pass


async def stored(connection: Connection) -> dict[str, bytes]:
    rows = await connection.fetch("select product_id, embedding from product_embeddings order by product_id")
    return {row["product_id"]: row["embedding"] for row in rows}


class TestStep:
    async def test_a_products_vector_is_that_of_its_whole_text(
        self, connection: Connection, embedding: FeedEmbedding, encoder: WatchedEncoder
    ) -> None:
        await connection.execute(
            "insert into products (id, title, brand, category, description, attributes)"
            """ values ('a', 'red', 'Acme', 'wine', 'blue', '{"n": 1}')"""
        )
        await embed(embedding)
        text = "red. Acme. wine. n: 1. blue"
        row = await connection.fetchrow("select encoder_version, embedding, text_digest from product_embeddings")
        assert row is not None
        assert tuple(row) == ("e1", encoder.encode([text])[0].astype("<f4").tobytes(), text_digest(text))

    async def test_a_product_is_encoded_again_only_for_another_text(
        self, connection: Connection, embedding: FeedEmbedding, encoder: WatchedEncoder
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red wine'), ('b', 'blue wine')")
        await embed(embedding)
        await connection.execute("update products set price = 5, in_stock = false, hidden = true")
        await embed(embedding)
        assert encoder.texts == ["red wine", "blue wine"]
        await connection.execute("update products set title = 'blue film' where id = 'b'")
        await embed(embedding)
        assert encoder.texts == ["red wine", "blue wine", "blue film"]

    async def test_changes_of_one_product_that_wait_together_cost_one_encoding(
        self, connection: Connection, embedding: FeedEmbedding, encoder: WatchedEncoder
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red')")
        for title in ("blue", "wine", "film"):
            await connection.execute("update products set title = $1", title)
        await embed(embedding)
        assert encoder.texts == ["film"]

    async def test_a_vector_written_by_a_training_job_is_left_alone(
        self, connection: Connection, embedding: FeedEmbedding, encoder: WatchedEncoder
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red')")
        await connection.execute(
            "insert into product_embeddings values ('a', 'e1', $1, $2)", b"0000", text_digest("red")
        )
        await embed(embedding)
        assert (encoder.texts, await stored(connection)) == ([], {"a": b"0000"})

    async def test_a_vector_of_an_unknown_text_is_made_anew(
        self, connection: Connection, embedding: FeedEmbedding, encoder: WatchedEncoder
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red')")
        await connection.execute("insert into product_embeddings values ('a', 'e1', $1)", b"0000")
        await embed(embedding)
        assert encoder.texts == ["red"]

    async def test_a_text_that_changed_under_the_work_is_not_stored_for_the_new_one(
        self,
        connection: Connection,
        embedding: FeedEmbedding,
        encoder: WatchedEncoder,
        at_once: Callable[[str], Callable[[], None]],
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red')")
        encoder.meanwhile = at_once("update products set title = 'blue'")
        await embedding.step()
        assert await stored(connection) == {}
        await embed(embedding)
        assert await stored(connection) == {"a": encoder.encode(["blue"])[0].tobytes()}

    async def test_a_price_that_changes_all_the_time_holds_nothing_up(
        self,
        connection: Connection,
        embedding: FeedEmbedding,
        encoder: WatchedEncoder,
        at_once: Callable[[str], Callable[[], None]],
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red')")
        encoder.meanwhile = at_once("update products set price = 5")
        await embedding.step()
        assert list(await stored(connection)) == ["a"]

    async def test_a_product_deleted_under_the_work_stays_deleted(
        self,
        connection: Connection,
        embedding: FeedEmbedding,
        encoder: WatchedEncoder,
        at_once: Callable[[str], Callable[[], None]],
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red'), ('b', 'blue')")
        encoder.meanwhile = at_once("delete from products where id = 'a'")
        await embed(embedding)
        assert list(await stored(connection)) == ["b"]

    async def test_a_text_that_cannot_be_encoded_holds_up_no_other(
        self, connection: Connection, embedding: FeedEmbedding
    ) -> None:
        await connection.execute(
            "insert into products (id, title) values ('a', 'red'), ('b', 'unreadable'), ('c', 'blue')"
        )
        await embed(embedding)
        assert list(await stored(connection)) == ["a", "c"]

    async def test_a_long_transaction_holds_up_no_other(
        self, connection: Connection, embedding: FeedEmbedding, database_url: str
    ) -> None:
        early = await asyncpg.connect(database_url)
        try:
            transaction = early.transaction()
            await transaction.start()
            await early.execute("insert into products (id, title) values ('early', 'red')")
            await connection.execute("insert into products (id, title) values ('late', 'blue')")
            await embedding.step()
            assert list(await stored(connection)) == ["late"]
            await transaction.commit()
        finally:
            await early.close()
        await embed(embedding)
        assert list(await stored(connection)) == ["early", "late"]

    async def test_what_is_written_now_does_not_wait_for_what_was_imported_before(
        self, connection: Connection, embedding: FeedEmbedding
    ) -> None:
        await connection.execute(
            "insert into products (id, title) select 'old-' || n, 'red ' || n from generate_series(1, $1) as n",
            6 * PAGE,
        )
        await embedding.step()
        await connection.execute("insert into products (id, title) values ('new', 'blue')")
        await embedding.step()
        await embedding.step()
        embedded = await stored(connection)
        assert "new" in embedded
        assert len(embedded) < 6 * PAGE
        await embed(embedding)
        assert len(await stored(connection)) == 6 * PAGE + 1

    async def test_another_goes_on_where_this_one_stopped(
        self, connection: Connection, embedding: FeedEmbedding, session: PrimarySession
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red')")
        await embed(embedding)
        await embedding.step()
        last = await connection.fetchval(
            "select transaction::text || '-' || position from product_changes order by position desc limit 1"
        )
        assert str(await start_of(session, "e1", None)) == last


class TestStartOf:
    async def test_without_a_cursor_it_is_where_the_artifact_was_made(
        self, connection: Connection, session: PrimarySession
    ) -> None:
        await connection.execute("insert into products (id, title) values ('a', 'red')")
        position = await connection.fetchval("select transaction::text || '-' || position from product_changes")
        assert str(await start_of(session, "e1", position)) == position

    @pytest.mark.parametrize("position", [None, "nonsense", "999999999999-1"])
    async def test_a_position_that_this_database_never_gave_out_is_the_beginning(
        self, session: PrimarySession, position: str | None
    ) -> None:
        assert str(await start_of(session, "e1", position)) == "0-0"

    async def test_nor_does_a_cursor_from_elsewhere_count(
        self, connection: Connection, session: PrimarySession
    ) -> None:
        """A logical dump brings the cursor along, and numbers its transactions anew."""
        await connection.execute("insert into embedding_cursors values ('e1', '999999999999', 7)")
        assert str(await start_of(session, "e1", None)) == "0-0"
