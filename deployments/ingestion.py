"""The ingestion deployment: writes, committed on the primary before they are acknowledged."""

from __future__ import annotations

from typing import Any

import asyncpg
from ray import serve

from catalogue.embedding import ProductEmbedder
from catalogue.events import Event
from catalogue.impressions import Impression
from catalogue.maintenance import Maintenance
from catalogue.products import BatchProduct
from catalogue.store import delete_product, insert_events, record_impressions, upsert_products
from contracts.writes import Deleted, EventsAdded, Written
from deployments.config import GraphConfig
from deployments.options import INNER
from deployments.replica import most_replicas, settle
from deployments.replica_health import ReplicaHealth
from deployments.replica_log import log_beside_serve
from deployments.store_metrics import export_stores
from deployments.stores import open_database, open_encoders
from storage.breakers import Breakers
from storage.errors import QueryTimeout
from storage.routing import PRIMARY
from storage.settings import StorageSettings

SESSIONS = 2
"""Connections to the primary beside the pool: one to embed, one for upkeep."""

STATEMENT_SHARE = 0.5
"""Of the time of a transaction that writes impressions; for one statement."""

REPLY_S, REPLY_SHARE = 1.25, 0.25
"""Of the time that the gateway waits for a write; for the way there and back, and the consistency token."""


def transaction_s(write_s: float) -> float:
    """Return the seconds that the transaction of a write may take, which is answered within *write_s*."""
    return write_s - min(REPLY_S, REPLY_SHARE * write_s)


@serve.deployment(name="ingestion", **INNER)
class IngestionDeployment:
    """
    Holds a database pool; every method returns after the commit or not at all.

    One of the replicas also embeds what was written, on a connection and in a thread of its own; one does what is due
    now and then.
    """

    async def __init__(self, config: GraphConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        log_beside_serve()
        self._breakers = Breakers(config.breaker)
        self._database = await open_database("ingestion", config.storage, self._breakers)
        self._embedder = ProductEmbedder(StorageSettings.from_environment().database_url, open_encoders)
        self._embedder.start()
        self._health = ReplicaHealth()
        self._metrics = export_stores(self._database, None, self._breakers, self._health.samples)
        self._maintenance = Maintenance(StorageSettings.from_environment(), config.maintenance)
        self._maintenance.start()
        self._health.watch(
            database=self._database, embedder=self._embedder, maintenance=self._maintenance, metrics=self._metrics
        )
        settle()

    async def put_products(self, products: list[BatchProduct], timeout_s: float) -> Written:
        """Write *products* in a transaction of at most *timeout_s*."""
        async with self._database.transaction(timeout_s=timeout_s) as connection:
            changed = await upsert_products(connection, products)
        self._embedder.wake()
        return Written(changed, await self._database.consistency_token())

    async def delete_product(self, product_id: str, timeout_s: float) -> Deleted:
        """Delete a product in a transaction of at most *timeout_s*."""
        async with self._database.transaction(timeout_s=timeout_s) as connection:
            existed = await delete_product(connection, product_id)
        return Deleted(existed, await self._database.consistency_token())

    async def add_events(self, events: list[Event], timeout_s: float) -> EventsAdded:
        """Write *events* in a transaction of at most *timeout_s*."""
        async with self._database.transaction(timeout_s=timeout_s) as connection:
            inserted = await insert_events(connection, events)
        return EventsAdded(inserted.accepted, inserted.duplicates, await self._database.consistency_token())

    async def record_impressions(self, impressions: list[Impression], timeout_s: float) -> None:
        """
        Write what answers showed in a transaction of at most *timeout_s*, once, however often it is asked.

        The server ends a statement that is too slow before we would: impressions that wait must not open the breaker of
        a primary that takes everything else.
        """
        try:
            async with self._database.transaction(timeout_s=timeout_s) as connection:
                await record_impressions(connection, impressions, statement_s=STATEMENT_SHARE * timeout_s)
        except asyncpg.QueryCanceledError as error:
            raise QueryTimeout(PRIMARY, "impressions took too long to write") from error

    async def status(self) -> dict[str, Any]:
        """Return whether this replica reaches the primary, how far products are embedded, and when upkeep last ran."""
        primary = next(endpoint for endpoint in self._database.status() if endpoint.role == "primary")
        embedding, maintenance = self._embedder.status(), self._maintenance.status()
        problems = [embedding["problem"], *(task["error"] for task in maintenance["tasks"].values())]
        return {
            "healthy": primary.healthy and not any(problems),
            "embedding": embedding,
            "maintenance": maintenance,
            "breakers": self._breakers.report(),
            "most_replicas": most_replicas(),
            "health_check": self._health.status(),
            "alerts": self._metrics.alerts.firing(),
            "sessions": SESSIONS,
        }

    async def check_health(self) -> None:
        """Return if this process is well, whatever its dependencies are."""
        await self._health.check()

    async def __del__(self) -> None:
        """Let another replica embed, when Serve stops this one."""
        await self._embedder.stop()
        await self._maintenance.stop()
