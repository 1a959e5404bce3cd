"""The two Postgres servers of a state directory, by their roles."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.account import database_account
from cluster.postgres import DATABASE, ROLE, PostgresServer
from cluster.postgres_programs import PostgresPrograms
from cluster.roles import Roles
from cluster.state_directory import StateDirectory

# They name the sockets .s.PGSQL.5432 and .s.PGSQL.5433; no TCP port is opened.
PORTS = (5432, 5433)
PRIMARY = "postgres-primary"
REPLICA = "postgres-replica-1"


@dataclass(frozen=True)
class LocalPostgres:
    """A primary and a read replica that follows it; a promotion swaps the two."""

    primary: PostgresServer
    replica: PostgresServer

    @classmethod
    def of(cls, state: StateDirectory) -> LocalPostgres:
        """Return the servers of *state*, running or not."""
        programs = PostgresPrograms.install(state.programs, database_account())
        roles = Roles.read(state.roles, first=PORTS[0])

        def server(port: int) -> PostgresServer:
            return PostgresServer(
                PRIMARY if port == roles.primary else REPLICA,
                programs,
                data=state.postgres / f"server-{port}",
                sockets=state.sockets,
                port=port,
                log=state.logs / f"postgres-{port}.log",
            )

        first, second = (server(port) for port in PORTS)
        pair = cls(first, second) if roles.primary == first.port else cls(second, first)
        pair.replica.follow(pair.primary)
        return pair

    def swapped(self) -> LocalPostgres:
        """Exchange the roles of the two servers, from their next start on, and return them so."""
        pair = LocalPostgres(primary=self.replica, replica=self.primary)
        pair.primary.name, pair.replica.name = PRIMARY, REPLICA
        pair.primary.lead()
        pair.replica.follow(pair.primary)
        return pair

    @property
    def database_url(self) -> str:
        """The DSN that leads to whichever server is the primary."""
        return self._url("primary")

    @property
    def replica_url(self) -> str:
        """The DSN that leads to whichever server is the read replica; never to a primary, which counts as diverted."""
        return self._url("standby")

    def _url(self, wanted: str) -> str:
        hosts = ",".join(str(self.primary.sockets) for _ in PORTS)
        ports = ",".join(str(port) for port in PORTS)
        return f"postgresql://{ROLE}@/{DATABASE}?host={hosts}&port={ports}&target_session_attrs={wanted}"


def adopt_old_directories(state: StateDirectory) -> None:
    """Give the data directories of earlier versions, named by their first roles, the names of the servers."""
    for old, port in zip(("primary", "replica-1"), PORTS, strict=True):
        directory = state.postgres / f"server-{port}"
        if (state.postgres / old).exists() and not directory.exists():
            (state.postgres / old).rename(directory)
