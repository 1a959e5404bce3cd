from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest

from catalogue.events import Event
from catalogue.impressions import Impression
from catalogue.products import BatchProduct
from contracts.consistency import ConsistencyToken
from contracts.writes import Deleted, EventsAdded, Written
from deployments.config import GraphConfig
from deployments.ingestion import IngestionDeployment
from storage.config import BreakerConfig
from storage.errors import QueryTimeout
from tests.catalogue.live_artifacts import LiveArtifacts

# Serve awaits __del__ itself; Python only calls it.
pytestmark = pytest.mark.filterwarnings("ignore:coroutine 'IngestionDeployment.__del__' was never awaited")

Replica: TypeAlias = Any
"""Serve hides the class behind a deployment."""

AMPLE_S = 20.0
VIEW = Event(id="e1", user_id="u", product_id="p1", type="view")


async def replica() -> Replica:
    """The deployment's own object, as Serve makes one."""
    kind: Any = IngestionDeployment.func_or_class  # type: ignore[attr-defined]  # a deployment, not the class
    made = kind.__new__(kind)
    await made.__init__(GraphConfig())
    return made


@pytest.fixture
async def ingestion(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Replica]:
    """A replica on an empty database, with an encoder."""
    artifacts = LiveArtifacts(tmp_path)
    artifacts.activate("e1")
    monkeypatch.setenv("SHORTLIST_DATABASE_URL", database_url)
    monkeypatch.setenv("SHORTLIST_REPLICA_URLS", "")
    monkeypatch.setenv("SHORTLIST_ARTIFACTS", artifacts.store.root)
    made = await replica()
    yield made
    await made.__del__()
    await made._database.close()


async def ended_at(database_url: str) -> ConsistencyToken:
    """Where the primary's log stands."""
    connection = await asyncpg.connect(database_url)
    try:
        lsn = await connection.fetchval("select pg_current_wal_flush_lsn()::text")
    finally:
        await connection.close()
    return ConsistencyToken.parse(f"1-{lsn}")


class TestIngestionDeployment:
    async def test_what_it_acknowledges_is_committed_and_its_token_covers_it(
        self,
        ingestion: Replica,
        database_url: str,
    ) -> None:
        before = await ended_at(database_url)
        written = await ingestion.put_products([BatchProduct(id="p1", title="red wine")], AMPLE_S)
        added = await ingestion.add_events([VIEW, VIEW], AMPLE_S)
        deleted = await ingestion.delete_product("p1", AMPLE_S)
        again = await ingestion.delete_product("p1", AMPLE_S)
        assert written == Written(1, written.token)
        assert added == EventsAdded(1, 1, added.token)
        assert (deleted, again) == (
            Deleted(existed=True, token=deleted.token),
            Deleted(existed=False, token=again.token),
        )
        positions = [ConsistencyToken.parse(answer.token).position for answer in (written, added, deleted)]
        assert before.position < positions[0] < positions[1] < positions[2]

    async def test_impressions_that_wait_for_their_table_leave_events_alone(
        self, ingestion: Replica, database_url: str
    ) -> None:
        """Five that are too slow would open the breaker of the primary, for events as well."""
        shown = Impression("r", "search", datetime.now(UTC), product_ids=["p1"], ranks=[1], scores=[0.5])
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction():
                await connection.execute("lock table impressions in access exclusive mode")
                for _ in range(BreakerConfig().consecutive):
                    with pytest.raises(QueryTimeout, match="impressions took too long"):
                        await ingestion.record_impressions([shown], 1.0)
                assert (await ingestion.add_events([VIEW], AMPLE_S)).accepted == 1
            for _ in range(2):
                await ingestion.record_impressions([shown], AMPLE_S)
            assert await connection.fetchval("select count(*) from impressions") == 1
        finally:
            await connection.close()

    async def test_what_it_writes_is_embedded_beside(self, ingestion: Replica, database_url: str) -> None:
        await ingestion.put_products([BatchProduct(id="p1", title="red wine")], AMPLE_S)
        connection = await asyncpg.connect(database_url)
        try:
            async with asyncio.timeout(20):
                while not await connection.fetchval("select count(*) from product_embeddings"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        finally:
            await connection.close()
        assert ingestion._embedder.status()["encoders"] == ["e1"]

    async def test_without_artifacts_it_writes_all_the_same(
        self, ingestion: Replica, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert ingestion._embedder.status()["problem"] is None
        monkeypatch.delenv("SHORTLIST_ARTIFACTS")
        other = await replica()
        try:
            assert (await other.put_products([BatchProduct(id="p2", title="T")], AMPLE_S)).changed == 1
            async with asyncio.timeout(20):
                while "is not set" not in str(other._embedder.status()["problem"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        finally:
            await other.__del__()
            await other._database.close()
