"""The two Postgres servers of a state directory."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.account import database_account
from cluster.postgres import PostgresServer
from cluster.postgres_programs import PostgresPrograms
from cluster.state_directory import StateDirectory

# They name the sockets .s.PGSQL.5432 and .s.PGSQL.5433; no TCP port is opened.
PRIMARY_PORT = 5432
REPLICA_PORT = 5433


@dataclass(frozen=True)
class LocalPostgres:
    """A primary and a read replica that follows it."""

    primary: PostgresServer
    replica: PostgresServer

    @classmethod
    def of(cls, state: StateDirectory) -> LocalPostgres:
        """Return the servers of *state*, running or not."""
        programs = PostgresPrograms.install(state.programs, database_account())

        def server(name: str, directory: str, port: int) -> PostgresServer:
            return PostgresServer(
                name,
                programs,
                data=state.postgres / directory,
                sockets=state.sockets,
                port=port,
                log=state.logs / f"{name}.log",
            )

        primary = server("postgres-primary", "primary", PRIMARY_PORT)
        replica = server("postgres-replica-1", "replica-1", REPLICA_PORT)
        replica.follow(primary)
        return cls(primary, replica)
