"""Where the data lives, as the environment says it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from storage.errors import SettingMissing

# A DSN may name several hosts, separated by commas too.
_BETWEEN_URLS = re.compile(r",(?=\s*postgres(?:ql)?://)")


@dataclass(frozen=True)
class StorageSettings:
    """
    Addresses of the data stores of one process.

    Args:
        database_url: asyncpg DSN of the primary, e.g. ``postgresql://shortlist@/shortlist?host=/run/dir&port=5432``.
        replica_urls: DSNs of the read replicas; their order names them ``replica-1``, ``replica-2``, ...
        redis_url: redis-py URL, or None where no cache is to be used.
    """

    database_url: str
    replica_urls: tuple[str, ...] = ()
    redis_url: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> StorageSettings:
        """
        Return the settings that *environ* holds.

        Raises:
            SettingMissing: SHORTLIST_DATABASE_URL is absent or blank.
        """
        database_url = environ.get("SHORTLIST_DATABASE_URL", "").strip()
        if not database_url:
            raise SettingMissing("SHORTLIST_DATABASE_URL")
        replicas = (url.strip(" ,") for url in _BETWEEN_URLS.split(environ.get("SHORTLIST_REPLICA_URLS", "")))
        return cls(
            database_url=database_url,
            replica_urls=tuple(url for url in replicas if url),
            redis_url=environ.get("SHORTLIST_REDIS_URL", "").strip() or None,
        )
