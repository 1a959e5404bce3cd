"""A small catalogue in a real database, and small artifacts over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from redis.asyncio import Redis

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import INDEX_FILE, PRODUCTS_FILE, EmbeddingIndex
from artifacts.encoder import OnnxEncoder
from artifacts.factors import Factors
from artifacts.manifest import ManifestDraft
from artifacts.store import ArtifactStore
from catalogue.products import BatchProduct
from catalogue.store import upsert_products
from storage.cache import Cache
from storage.database import Database
from storage.key_epoch import parted, stored_key
from storage.settings import StorageSettings
from tests.artifacts.tiny_encoder import DIM, write_tiny_encoder
from tests.servers import TEMPLATE, Servers

TITLES = {
    "p1": "red wine",
    "p2": "blue wine",
    "p3": "red film",
    "p4": "blue film",
    "p5": "red red wine",
}
POPULARITY = {"p1": 0.2, "p2": 0.9, "p3": 0.5, "p4": 0.5}


def load_factors(directory: Path, _: object) -> Factors:
    return Factors.load(directory)


async def fill(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        products = [
            BatchProduct(
                id=product_id,
                title=title,
                category="Drinks" if "wine" in title else "Films",
                price=number - 0.05,
                in_stock=product_id != "p4",
                created_at=datetime(2026, 1, number, tzinfo=UTC),
            )
            for number, (product_id, title) in enumerate(TITLES.items(), start=1)
        ]
        await upsert_products(connection, products)
        await connection.execute(
            "insert into popularity_versions (version, window_end, half_life_days, active, created_at)"
            " values ('pop-1', '2026-01-11', 30, true, now())"
        )
        await connection.executemany(
            "insert into product_popularity (product_id, popularity, weighted_count, version)"
            " values ($1, $2, 1, 'pop-1')",
            list(POPULARITY.items()),
        )
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def catalogue_url(servers: Servers) -> Iterator[str]:
    """The DSN of a database that holds the catalogue; tests only read it."""
    name = "retrieval_catalogue"
    servers.primary.create_database(name, template=TEMPLATE)
    url = servers.primary.url(name)
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(fill(url))).result()
    yield url
    servers.primary.query(f'drop database "{name}" with (force)')


@pytest.fixture
async def database(catalogue_url: str) -> AsyncIterator[Database]:
    """The catalogue on the primary, without a read replica; to be read only."""
    database = Database(StorageSettings(catalogue_url), application="tests")
    await database.start()
    yield database
    await database.close()


@pytest.fixture
async def own_database(database_url: str) -> AsyncIterator[Database]:
    """The catalogue in a database that the test may change."""
    await fill(database_url)
    database = Database(StorageSettings(database_url), application="tests")
    await database.start()
    yield database
    await database.close()


@pytest.fixture
async def broken_database(tmp_path: Path) -> AsyncIterator[Database]:
    """A database nobody serves."""
    database = Database(StorageSettings(f"postgresql://nobody@/nothing?host={tmp_path}"), application="tests")
    await database.start()
    yield database
    await database.close()


def redis_of(cache: Cache) -> Redis:
    """The server behind *cache*, to look into it and to spoil it."""
    assert cache._redis is not None
    return cache._redis


def stored(cache: Cache, key: str) -> str:
    """The name under which the server holds *key* now."""
    assert cache.key_epoch is not None
    return stored_key(cache.key_epoch, key)


async def kept(cache: Cache, purpose: str = "") -> list[str]:
    """The names on the server of what is kept, of whatever epoch, whose keys begin with *purpose*."""
    redis: Any = redis_of(cache)
    names = [name.decode() for name in await redis.keys()]
    return [name for name in names if (of := parted(name)) is not None and of[1].startswith(purpose)]


@pytest.fixture
async def cache(servers: Servers) -> AsyncIterator[Cache]:
    """Valkey, empty; in no hurry."""
    cache = Cache(servers.redis_url, timeout_s=10)
    await redis_of(cache).flushdb()
    yield cache
    await cache.close()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path / "artifacts"))


@pytest.fixture
def embeddings(store: ArtifactStore, tmp_path: Path) -> Iterator[ActiveArtifact[EmbeddingIndex]]:
    """The tiny encoder's vectors of the catalogue, active; a product that was deleted since is still among them."""
    made = tmp_path / "embeddings"
    made.mkdir()
    write_tiny_encoder(made)
    vectors = OnnxEncoder(made).encode([*TITLES.values(), "red wine"])
    index = faiss.IndexFlatIP(DIM)
    index.add(vectors)
    faiss.write_index(index, str(made / INDEX_FILE))
    pq.write_table(pa.table({"product_id": [*TITLES, "deleted"]}), made / PRODUCTS_FILE)
    manifest = store.publish(made, ManifestDraft(kind="embeddings", encoder="tiny-1", dim=DIM))
    store.activate("embeddings", manifest.version)
    yield from watched(ActiveArtifact("embeddings", EmbeddingIndex.load, store))


@pytest.fixture
def factors(store: ArtifactStore, tmp_path: Path) -> Iterator[ActiveArtifact[Factors]]:
    """Two users, one for wine and one for films."""
    made = tmp_path / "factors"
    made.mkdir()
    Factors(
        user_ids=["drinker", "viewer"],
        item_ids=["p1", "p2", "p3", "p4"],
        user_factors=np.array([[1, 0], [0, 1]], dtype=np.float32),
        item_factors=np.array([[0.9, 0.1], [0.7, 0.0], [0.1, 0.9], [0.0, 0.7]], dtype=np.float32),
        regularization=0.1,
        alpha=1.0,
    ).save(made)
    manifest = store.publish(made, ManifestDraft(kind="collaborative"))
    store.activate("collaborative", manifest.version)
    yield from watched(ActiveArtifact("collaborative", load_factors, store))


@pytest.fixture
def no_embeddings(store: ArtifactStore) -> Iterator[ActiveArtifact[EmbeddingIndex]]:
    yield from watched(ActiveArtifact("embeddings", EmbeddingIndex.load, store))


def watched(active: ActiveArtifact) -> Iterator[ActiveArtifact]:  # type: ignore[type-arg]  # of any kind
    active.start()
    active.wait(10)
    yield active
    active.stop()
