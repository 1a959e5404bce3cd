"""One embedded Postgres server: the primary, or a streaming read replica of it."""

# ruff: noqa: S608 - the names put into statements are the launcher's own

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from cluster import child
from cluster.control_data import ControlData, position
from cluster.errors import ServerFailed
from cluster.postgres_programs import PostgresPrograms
from cluster.postgres_settings import SETTINGS
from cluster.roles import sync_directory

ROLE = "shortlist"
DATABASE = "shortlist"

ANSWER_TIMEOUT_S = 5.0
SHUTDOWN_TIMEOUT_S = 20.0

# Postgres itself looks for it: a server that finds it in its data directory starts in recovery and refuses writes.
FENCE = "standby.signal"

# A replica that was just stopped may hold its slot for another moment.
DROP_SLOT = """
do $$
begin
    perform pg_terminate_backend(active_pid, 10000)
        from pg_replication_slots where slot_name = '{slot}' and active_pid is not null;
    perform pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '{slot}';
end
$$
"""


class PostgresServer:
    """
    A server on a Unix socket, and nothing else.

    Args:
        name: ``postgres-primary`` or ``postgres-replica-1``, by its role.
        programs: What runs it.
        data: Its data directory; created by `initialise` or `clone`.
        sockets: Directory of the socket; owned by the server's account.
        port: Names the socket ``.s.PGSQL.<port>``; no TCP port is opened.
        log: Receives its output.
        settings: Server settings beyond `SETTINGS`.
    """

    def __init__(
        self,
        name: str,
        programs: PostgresPrograms,
        *,
        data: Path,
        sockets: Path,
        port: int,
        log: Path,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.programs = programs
        self.data = data
        self.sockets = sockets
        self.port = port
        self.log = log
        self.settings = {**SETTINGS, **(settings or {})}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a data directory that was finished."""
        return (self.data / "PG_VERSION").exists()

    def url(self, database: str = DATABASE) -> str:
        """Return the DSN of *database* on this server."""
        return f"postgresql://{ROLE}@/{database}?host={self.sockets}&port={self.port}"

    def initialise(self) -> None:
        """Create the data directory of a new primary; whole or not at all."""
        partial = self._empty_partial()
        self.programs.run(
            "initdb",
            f"--pgdata={partial}",
            f"--username={ROLE}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=reject",
            "--no-sync",
        )
        partial.rename(self.data)

    def clone(self, primary: PostgresServer) -> None:
        """Replace the data directory by a base backup of the running *primary*, whole or not at all."""
        primary.query(DROP_SLOT.format(slot=self.slot))
        partial = self._empty_partial()
        self.programs.run(
            "pg_basebackup",
            f"--host={primary.sockets}",
            f"--port={primary.port}",
            f"--username={ROLE}",
            f"--pgdata={partial}",
            "--write-recovery-conf",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--create-slot",
            f"--slot={self.slot}",
            "--no-sync",
            timeout_s=600.0,
        )
        if self.data.exists():
            shutil.rmtree(self.data)
        partial.rename(self.data)

    def follow(self, primary: PostgresServer) -> None:
        """Be a read replica of *primary* from the next start on, wherever its socket is now."""
        self.settings["primary_conninfo"] = (
            f"host={primary.sockets} port={primary.port} user={ROLE} application_name={self.slot}"
        )
        self.settings["primary_slot_name"] = self.slot

    def lead(self) -> None:
        """Be a primary from the next start on."""
        for name in ("primary_conninfo", "primary_slot_name"):
            self.settings.pop(name, None)

    def fence(self) -> None:
        """Mark the data directory, so that whoever starts a server on it gets one that refuses writes."""
        mark = self.data / FENCE
        if mark.exists():
            return
        with mark.open("w") as file:
            os.fsync(file.fileno())
        account = self.programs.account
        if account is not None:
            os.chown(mark, account.uid, account.gid)
        sync_directory(self.data)

    @property
    def slot(self) -> str:
        """The replication slot on the primary, also the name that the primary knows this replica by."""
        return self.name.removeprefix("postgres-").replace("-", "_")

    def start(self, death_signal: signal.Signals = signal.SIGINT) -> None:
        """
        Start the server without waiting for it; it shuts down cleanly when the calling thread ends.

        One that follows a primary is fenced first.
        """
        self._clear_leftovers()
        if "primary_conninfo" in self.settings:
            self.fence()
        options = [part for name, value in self.settings.items() for part in ("-c", f"{name}={value}")]
        self.process = child.spawn(
            [
                str(self.programs.bin / "postgres"),
                "-D",
                str(self.data),
                "-k",
                str(self.sockets),
                "-p",
                str(self.port),
                *options,
            ],
            log=self.log,
            death_signal=death_signal,
            account=self.programs.account,
            directory=self.data if self.programs.account is None else Path("/"),
        )

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """
        Return once the server answers a query.

        Raises:
            ServerFailed: it died, or did not answer in time; the message holds the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if self.process is None or self.process.poll() is not None:
                raise self._failure("stopped while it started")
            if time.monotonic() > deadline:
                raise self._failure(f"did not answer within {timeout_s:.0f} s")
            time.sleep(0.05)

    def is_running(self) -> bool:
        """Return whether the process that we started lives."""
        return self.process is not None and self.process.poll() is None

    def answers(self) -> bool:
        """Return whether a query is answered."""
        try:
            return self.query("select 1", timeout_s=ANSWER_TIMEOUT_S) == "1"
        except ServerFailed:
            return False

    def query(self, sql: str, *, database: str = "postgres", timeout_s: float = 30.0) -> str:
        """
        Return what psql prints for *sql*: unaligned rows, columns separated by ``|``.

        Raises:
            ServerFailed: the server is down or refuses the statement.
        """
        return self.programs.run(
            "psql",
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            f"--host={self.sockets}",
            f"--port={self.port}",
            f"--username={ROLE}",
            f"--dbname={database}",
            f"--command={sql}",
            timeout_s=timeout_s,
        )

    def create_database(self, name: str = DATABASE, *, template: str = "template1") -> None:
        """Create database *name* unless it is there."""
        if not self.query(f"select 1 from pg_database where datname = '{name}'"):
            self.query(f'create database "{name}" template "{template}"')

    def is_streaming(self) -> bool:
        """Return whether this server is in recovery and receives from a primary at this moment."""
        try:
            answer = self.query(
                "select pg_is_in_recovery(), (select status from pg_stat_wal_receiver)", timeout_s=ANSWER_TIMEOUT_S
            )
        except ServerFailed:
            return False
        return answer == "t|streaming"

    def is_in_recovery(self) -> bool:
        """
        Return whether this server replays what another writes, and so refuses writes itself.

        Raises:
            ServerFailed: it does not answer.
        """
        return self.query("select pg_is_in_recovery()", timeout_s=ANSWER_TIMEOUT_S) == "t"

    def is_writable(self) -> bool:
        """Return whether this server answers and takes writes."""
        try:
            return not self.is_in_recovery()
        except ServerFailed:
            return False

    def written(self) -> int:
        """Return the position up to which this primary's log is safe on its disk."""
        return position(self.query("select pg_current_wal_flush_lsn()"))

    def replayed(self) -> int:
        """Return the position up to which this server has replayed, or had when it was promoted."""
        return position(self.query("select coalesce(pg_last_wal_replay_lsn(), '0/0')"))

    def promote(self, timeout_s: int = 60) -> None:
        """
        End recovery and take writes.

        Raises:
            ServerFailed: it does not within *timeout_s* seconds.
        """
        if self.query(f"select pg_promote(true, {timeout_s})", timeout_s=timeout_s + 10.0) != "t":
            raise self._failure(f"was not promoted within {timeout_s} s")
        # pg_rewind reads the new timeline from the control file.
        self.query("checkpoint", timeout_s=300.0)

    def keep_place(self, replica: PostgresServer) -> None:
        """Keep from now on what *replica* needs to catch up."""
        self.query(
            f"select pg_create_physical_replication_slot('{replica.slot}', true) where not exists "
            f"(select from pg_replication_slots where slot_name = '{replica.slot}')"
        )

    def acknowledge_with(self, replica: str | None) -> None:
        """Acknowledge a write only when *replica* has it too, or (None) when it is safe here; also after a restart."""
        if self.query("show synchronous_standby_names") != (replica or ""):
            self.query(f"alter system set synchronous_standby_names = '{replica or ''}'")
            self.query("select pg_reload_conf()")

    def drop_own_slots(self) -> None:
        """Keep no longer what this server kept for a replica when it was a primary."""
        self.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")

    def rewind(self, primary: PostgresServer) -> None:
        """
        Undo what this stopped server wrote and the running *primary*, once its replica, never got.

        Raises:
            ServerFailed: it cannot be undone; the data directory may be of no use any more.
        """
        (self.data / FENCE).unlink(missing_ok=True)
        self.programs.run(
            "pg_rewind",
            f"--target-pgdata={self.data}",
            f"--source-server=host={primary.sockets} port={primary.port} user={ROLE} dbname=postgres",
            "--no-sync",
            timeout_s=600.0,
        )
        self.fence()

    def lost_its_place(self, primary: PostgresServer) -> bool:
        """Return whether *primary* no longer keeps what this replica would need to catch up."""
        status = primary.query(f"select wal_status from pg_replication_slots where slot_name = '{self.slot}'")
        return status in {"", "lost"}

    def descends_from(self, primary: PostgresServer) -> bool:
        """Return whether this data directory is a copy of *primary*'s cluster."""
        return self.control().system_identifier == primary.control().system_identifier

    def stop(self, timeout_s: float = SHUTDOWN_TIMEOUT_S) -> None:
        """Shut down cleanly, without waiting for sessions to end by themselves."""
        if self.process is not None:
            child.stop(self.process, signal.SIGINT, timeout_s=timeout_s)
            self.process = None

    def kill(self) -> None:
        """End the server without its consent, and with it every session, also one that hangs."""
        if self.process is not None and self.process.poll() is None:
            sessions = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            self.process.wait()
            for session in sessions:
                with contextlib.suppress(psutil.NoSuchProcess):
                    session.kill()
            psutil.wait_procs(sessions, timeout=SHUTDOWN_TIMEOUT_S)
        self.process = None

    def control(self) -> ControlData:
        """
        Return what the data directory says of itself.

        Raises:
            ServerFailed: it cannot be read.
        """
        return ControlData.of(self.programs, self.data)

    def _failure(self, what: str) -> ServerFailed:
        return ServerFailed(f"{self.name} {what}. The end of {self.log}:\n{child.tail(self.log)}")

    def _empty_partial(self) -> Path:
        partial = self.data.with_name(f"{self.data.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
        account = self.programs.account
        if account is not None:
            os.chown(partial, account.uid, account.gid)
        return partial

    def _clear_leftovers(self) -> None:
        """Stop a server that an earlier launcher left on this data directory, and remove what a killed one left."""
        lock = self.data / "postmaster.pid"
        if lock.exists():
            try:
                owner = psutil.Process(int(lock.read_text().split()[0]))
                ours = owner.name() == "postgres" and Path(owner.cwd()) == self.data.resolve()
            except (psutil.Error, ValueError, IndexError):
                ours = False
            if ours:
                with contextlib.suppress(psutil.NoSuchProcess):
                    owner.send_signal(signal.SIGINT)
                    psutil.wait_procs([owner], timeout=SHUTDOWN_TIMEOUT_S)
                    owner.kill()
                    owner.wait(SHUTDOWN_TIMEOUT_S)
            lock.unlink(missing_ok=True)
        for leftover in (f".s.PGSQL.{self.port}", f".s.PGSQL.{self.port}.lock"):
            (self.sockets / leftover).unlink(missing_ok=True)
