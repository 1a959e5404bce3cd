"""
Bring a database to the schema of this version: ``python -m storage.migrate``.

Migrations are the files ``storage/migrations/NNNN_name.sql``, applied once each, in order, one transaction each,
and recorded with their checksum in ``schema_migrations``.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from dataclasses import dataclass
from importlib import resources

import asyncpg

from storage.connection import CONNECT_FAILURES, Connection
from storage.errors import DatabaseUnavailable, MigrationChanged, StorageError
from storage.settings import StorageSettings

_LOCK = 7_355_608_115
"""Advisory lock held while migrating, so that two starting processes take turns."""

_MONTHS_AHEAD = 3


@dataclass(frozen=True)
class Migration:
    """One numbered step of the schema."""

    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """sha256 of the statement text, hexadecimal."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """Return every migration of this version, in the order they are applied."""
    files = sorted(resources.files("storage").joinpath("migrations").iterdir(), key=lambda file: file.name)
    return [Migration(file.name, file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".sql")]


async def migrate(database_url: str) -> list[str]:
    """
    Apply the migrations that *database_url* (a primary) lacks and make the coming months' event partitions.

    Returns:
        Names of the migrations applied now, in order; empty when the schema was up to date.

    Raises:
        DatabaseUnavailable: the server cannot be reached.
        MigrationChanged: an applied migration differs from its file; nothing is applied.
    """
    try:
        connection = await asyncpg.connect(database_url, timeout=10, server_settings={"application_name": "migrate"})
    except CONNECT_FAILURES as error:
        raise DatabaseUnavailable("primary", f"cannot connect to migrate ({error})") from error
    try:
        await connection.execute("select pg_advisory_lock($1)", _LOCK)
        applied = await _apply_missing(connection)
        await connection.execute(
            "select ensure_event_partitions(now(), now() + make_interval(months => $1))", _MONTHS_AHEAD
        )
    finally:
        await connection.close()
    return applied


async def _apply_missing(connection: Connection) -> list[str]:
    await connection.execute(
        "create table if not exists schema_migrations "
        "(name text primary key, checksum text not null, applied_at timestamptz not null default now())"
    )
    rows = await connection.fetch("select name, checksum from schema_migrations")
    known = {row["name"]: row["checksum"] for row in rows}
    steps = migrations()
    for step in steps:
        if known.get(step.name, step.checksum) != step.checksum:
            raise MigrationChanged(step.name)
    missing = [step for step in steps if step.name not in known]
    for step in missing:
        async with connection.transaction():
            await connection.execute(step.sql)
            await connection.execute(
                "insert into schema_migrations (name, checksum) values ($1, $2)", step.name, step.checksum
            )
    return [step.name for step in missing]


def main() -> int:
    """Migrate SHORTLIST_DATABASE_URL; say what was applied. Exit status 1 when it could not be."""
    try:
        applied = asyncio.run(migrate(StorageSettings.from_environment().database_url))
    except StorageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"applied {name}\n" for name in applied) or "the schema is up to date\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
