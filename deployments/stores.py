"""The database and the cache a replica opens. Nothing here fails because a server is down."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from artifacts.store import CACHE_VARIABLE, ArtifactStore
from storage.breakers import Breakers
from storage.cache import Cache
from storage.config import StorageConfig
from storage.database import Database
from storage.settings import StorageSettings


async def open_database(application: str, config: StorageConfig, breakers: Breakers) -> Database:
    """Return the process's database, from the settings in the environment; it keeps trying while servers are down."""
    database = Database(
        StorageSettings.from_environment(), application=f"shortlist-{application}", config=config, breakers=breakers
    )
    await database.start()
    return database


def open_cache(breakers: Breakers) -> Cache:
    """Return the process's cache, from the settings in the environment."""
    return Cache(StorageSettings.from_environment().redis_url, breakers=breakers)


def open_encoders() -> ArtifactStore:
    """
    Return the artifacts for one who fetches nothing but encoders, with a cache of its own for remote files.

    Raises:
        ArtifactStoreUnavailable: SHORTLIST_ARTIFACTS is not set, or cannot be opened.
    """
    cache = os.environ.get(CACHE_VARIABLE) or Path(tempfile.gettempdir()) / f"shortlist-artifacts-{os.getuid()}"
    return ArtifactStore.from_environment({**os.environ, CACHE_VARIABLE: str(Path(cache) / "encoders")})
