"""The servers that a test session runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cluster.child import wait_until
from cluster.errors import ServerFailed
from cluster.postgres import PostgresServer
from cluster.valkey import ValkeyServer
from tests.directories import short_directory

TEMPLATE = "shortlist_template"
"""The migrated database that others are copied from."""


def database_name(database_url: str) -> str:
    """The database that a DSN of these servers names."""
    return database_url.partition("?")[0].rpartition("/")[2]


@contextlib.contextmanager
def own_valkey() -> Iterator[ValkeyServer]:
    """A server that may be frozen, filled and stopped."""
    with short_directory("shortlist-valkey-") as directory:
        server = ValkeyServer(path=directory / "s.sock", directory=directory, log=directory / "log")
        server.start()
        try:
            server.wait_ready()
            yield server
        finally:
            server.stop()


@dataclass(frozen=True)
class Servers:
    """A primary, its streaming replica and Valkey, in a directory of their own."""

    directory: Path
    primary: PostgresServer
    replica: PostgresServer
    valkey: ValkeyServer

    @property
    def database_url(self) -> str:
        """The migrated database on the primary."""
        return self.primary.url()

    @property
    def replica_urls(self) -> tuple[str, ...]:
        """The same database on each replica."""
        return (self.replica.url(),)

    @property
    def redis_url(self) -> str:
        """The cache."""
        return self.valkey.url

    def replica_url_of(self, database_url: str) -> str:
        """The replica's DSN of the database that *database_url* names on the primary."""
        return self.replica.url(database_name(database_url))

    def replay(self) -> None:
        """Return once the replica has replayed everything that the primary has written."""
        position = self.primary.query("select pg_current_wal_flush_lsn()")
        caught_up = f"select pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"
        if not wait_until(lambda: self.replica.query(caught_up) == "t", timeout_s=60):
            raise ServerFailed("the replica did not catch up within 60 s")
