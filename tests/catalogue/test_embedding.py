from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from catalogue.embedding import ProductEmbedder
from storage.connection import Connection
from tests.catalogue.live_artifacts import LiveArtifacts

Start = Callable[[], ProductEmbedder]


@pytest.fixture
def artifacts(tmp_path: Path) -> LiveArtifacts:
    return LiveArtifacts(tmp_path)


@pytest.fixture
async def start(database_url: str, artifacts: LiveArtifacts) -> AsyncIterator[Start]:
    """Starts an embedder, as each ingestion replica runs one."""
    started: list[ProductEmbedder] = []

    def one() -> ProductEmbedder:
        started.append(ProductEmbedder(database_url, artifacts.open, poll_s=0.02))
        started[-1].start()
        return started[-1]

    yield one
    for embedder in started:
        await embedder.stop()


async def embedded(connection: Connection, *wanted: tuple[str, str]) -> bool:
    """Whether those products, each for its encoder, and no others come to have a vector."""
    found = None
    for _ in range(1000):
        rows = await connection.fetch("select product_id, encoder_version from product_embeddings")
        found = {tuple(row) for row in rows}
        if found == set(wanted):
            return True
        await asyncio.sleep(0.02)
    raise AssertionError(f"{found} instead of {wanted}")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what must come true."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - nobody could tell an event
            await asyncio.sleep(0.02)


async def insert(connection: Connection, product_id: str) -> None:
    await connection.execute("insert into products (id, title) values ($1, 'red ' || $1)", product_id)


class TestProductEmbedder:
    async def test_whoever_writes_a_product_it_is_embedded(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        artifacts.activate("e1")
        embedder = start()
        await insert(connection, "a")
        assert await embedded(connection, ("a", "e1"))
        await until(lambda: embedder.status()["waiting"] == 0)
        assert embedder.status() == {
            "leading": True,
            "encoders": ["e1"],
            "waiting": 0,
            "lag_s": 0.0,
            "problem": None,
        }

    async def test_what_was_written_while_nobody_looked_is_embedded_later(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        artifacts.activate("e1")
        await insert(connection, "a")
        first = start()
        assert await embedded(connection, ("a", "e1"))
        await first.stop()
        await insert(connection, "b")
        start()
        assert await embedded(connection, ("a", "e1"), ("b", "e1"))

    async def test_what_the_artifact_holds_is_not_looked_at(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        await insert(connection, "before")
        position = await connection.fetchval("select transaction::text || '-' || position from product_changes")
        await insert(connection, "after")
        artifacts.activate("e1", position=position)
        start()
        assert await embedded(connection, ("after", "e1"))

    async def test_the_encoder_that_a_rollback_brings_back_is_kept_up_to_date_too(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        for encoder in ("e1", "e2"):
            artifacts.activate(encoder)
        start()
        await insert(connection, "a")
        assert await embedded(connection, ("a", "e1"), ("a", "e2"))

    async def test_an_encoder_activated_later_is_taken_up(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        embedder = start()
        await until(lambda: "train one" in str(embedder.status()["problem"]))
        await insert(connection, "a")
        artifacts.activate("e1")
        embedder._live._retry_at = 0.0
        assert await embedded(connection, ("a", "e1"))
        await until(lambda: embedder.status()["problem"] is None)

    async def test_without_a_sound_artifact_it_says_so_and_waits(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        artifacts.corrupt(artifacts.activate("e1"))
        embedder = start()
        await insert(connection, "a")
        await until(lambda: "sha256 of encoder.onnx differs" in str(embedder.status()["problem"]))
        assert not await connection.fetchval("select exists (select from product_embeddings)")

    async def test_one_leads_and_when_it_ends_another_takes_over(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        artifacts.activate("e1")
        embedders = [start(), start()]
        await until(lambda: any(embedder.leading for embedder in embedders))
        (leader,) = (embedder for embedder in embedders if embedder.leading)
        (other,) = (embedder for embedder in embedders if not embedder.leading)
        await insert(connection, "a")
        assert await embedded(connection, ("a", "e1"))
        await until(lambda: other.status()["encoders"] == ["e1"])
        assert not other.leading
        await leader.stop()
        await insert(connection, "b")
        assert await embedded(connection, ("a", "e1"), ("b", "e1"))
        assert other.leading

    async def test_a_connection_that_is_cut_is_made_anew(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        artifacts.activate("e1")
        embedder = start()
        await until(lambda: embedder.leading)
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'shortlist-embedding'"
            " and datname = current_database()"
        )
        await insert(connection, "a")
        assert await embedded(connection, ("a", "e1"))

    async def test_a_database_that_is_down_harms_nobody(self, artifacts: LiveArtifacts, tmp_path: Path) -> None:
        embedder = ProductEmbedder(f"postgresql://nobody@/nothing?host={tmp_path}", artifacts.open)
        embedder.start()
        await until(lambda: embedder.status()["problem"] is not None)
        assert not embedder.leading
        await embedder.stop()

    async def test_the_one_that_waits_says_how_far_the_other_is_behind(
        self, artifacts: LiveArtifacts, start: Start, connection: Connection
    ) -> None:
        artifacts.activate("e1")
        await connection.execute("select pg_advisory_lock(7355608, 116)")
        await connection.execute("insert into embedding_cursors values ('e1', '3', 0)")
        await insert(connection, "a")
        embedder = start()
        await until(lambda: embedder.status()["waiting"] == 1)
        assert embedder.status()["lag_s"] > 0
