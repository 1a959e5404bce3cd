"""The primary and its read replica under the supervisor: started, mended, and one put in the other's place."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import Protocol

from cluster import child
from cluster.errors import ClusterError, ServerFailed
from cluster.local_postgres import PORTS, LocalPostgres, adopt_old_directories
from cluster.postgres import PostgresServer
from cluster.roles import Rejoin, Roles
from cluster.state_directory import StateDirectory

log = logging.getLogger("supervisor")

STREAMING_TIMEOUT_S = 30.0
RECOVERY_TIMEOUT_S = 120.0


class Launcher(Protocol):
    """What the supervisor does for its servers."""

    def start(self, server: PostgresServer) -> None:
        """Start *server* and watch it from now on."""

    def end_orphans(self) -> None:
        """End what a server left that was killed."""

    def swap(self, one: str, other: str) -> None:
        """Exchange the names of two parts."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Show that *name* is under way."""


class PostgresPair:
    """
    The two servers of a state directory.

    Args:
        state: Where they live.
        launcher: Starts and watches their processes.
        synchronous: Whether the primary acknowledges a write only when the replica has it too.
    """

    def __init__(self, state: StateDirectory, launcher: Launcher, *, synchronous: bool) -> None:
        self.state = state
        self.launcher = launcher
        self.synchronous = synchronous
        self.servers = LocalPostgres.of(state)

    @property
    def primary(self) -> PostgresServer:
        """The server that takes writes."""
        return self.servers.primary

    @property
    def replica(self) -> PostgresServer:
        """The server that follows it."""
        return self.servers.replica

    @property
    def rejoin(self) -> Rejoin | None:
        """What the replica still needs, when it was the primary before."""
        return Roles.read(self.state.roles, first=PORTS[0]).rejoin

    def begin(self) -> None:
        """
        Start both and return once the primary takes writes; a promotion that was cut short is finished.

        Raises:
            ClusterError: one of them does not start.
        """
        adopt_old_directories(self.state)
        with self.launcher.step("postgres primary"):
            if not self.primary.exists:
                self.primary.initialise()
            self.launcher.start(self.primary)
            self.primary.wait_ready(RECOVERY_TIMEOUT_S)
            if self.primary.is_in_recovery():
                log.warning("%s: finishing its promotion", self.primary.name)
                self.primary.promote()
            self.primary.create_database()
        with self.launcher.step("postgres replica"):
            streams = self.follow()
            if not streams:
                log.warning("%s does not stream after %.0f s", self.replica.name, STREAMING_TIMEOUT_S)
            if self.synchronous and not streams:
                raise ServerFailed(f"{self.replica.name} does not stream, so that no write could be acknowledged")
            for server in (self.primary, self.replica):
                server.acknowledge_with(self.replica.slot if self.synchronous else None)

    def hand_over(self, rejoin: Rejoin) -> None:
        """
        Make the replica the primary in all that is written down, and fence the old one, which must be dead.

        From here on the promotion is decided: after a crash the next start finishes it.
        """
        port = self.replica.port
        Roles(primary=port, rejoin=rejoin).write(self.state.roles)
        self.primary.fence()
        self.launcher.swap(self.primary.name, self.replica.name)
        self.servers = self.servers.swapped()

    def follow(self) -> bool:
        """
        Start the replica by the cheapest way that works and return whether it streams.

        Raises:
            ClusterError: none worked.
        """
        rejoin = self.rejoin
        if rejoin is None:
            if self._needs_copy():
                self._copy()
            return self._start_replica()
        self.replica.stop()
        if self._can_rejoin(rejoin):
            self.primary.keep_place(self.replica)
            try:
                if not self._needs_copy() and self._start_replica():
                    self._rejoined()
                    return True
            except ClusterError:
                log.exception("%s: cannot follow with the data it has", self.replica.name)
            self.replica.stop()
        self._copy()
        streams = self._start_replica()
        self._rejoined()
        return streams

    def mend(self) -> None:
        """Finish a promotion that got stuck, bring back a replaced primary, copy anew what fell too far behind."""
        primary, replica = self.primary, self.replica
        try:
            if primary.answers() and primary.is_in_recovery():
                primary.promote()
            if self.rejoin is not None:
                if primary.is_writable():
                    self.follow()
            elif self._has_fallen_behind():
                log.error("%s: fell too far behind; copying the primary again", replica.name)
                replica.stop()
                self._copy()
                self.launcher.start(replica)
        except ClusterError:
            log.exception("%s: cannot be brought back; trying again", replica.name)

    def _has_fallen_behind(self) -> bool:
        primary, replica = self.primary, self.replica
        return (
            replica.process is not None
            and not replica.is_streaming()
            and primary.is_writable()
            and replica.lost_its_place(primary)
        )

    def _needs_copy(self) -> bool:
        primary, replica = self.primary, self.replica
        return not replica.exists or not replica.descends_from(primary) or replica.lost_its_place(primary)

    def _can_rejoin(self, rejoin: Rejoin) -> bool:
        """Return whether the old primary's data fit its successor's, after they were rewound if need be."""
        if rejoin != "rewind":
            return rejoin == "start"
        # What a rewind leaves that was cut short is of no use.
        self._note("copy")
        try:
            self.replica.rewind(self.primary)
        except ClusterError as error:
            log.warning("%s: cannot be rewound; copying the primary. %s", self.replica.name, error)
            return False
        self._note("start")
        return True

    def _copy(self) -> None:
        log.info("%s: copying the primary", self.replica.name)
        self.replica.clone(self.primary)

    def _start_replica(self) -> bool:
        self.launcher.start(self.replica)
        self.replica.wait_ready(RECOVERY_TIMEOUT_S)
        return child.wait_until(self.replica.is_streaming, timeout_s=STREAMING_TIMEOUT_S)

    def _rejoined(self) -> None:
        self.replica.drop_own_slots()
        self._note(None)

    def _note(self, rejoin: Rejoin | None) -> None:
        Roles(primary=self.primary.port, rejoin=rejoin).write(self.state.roles)
