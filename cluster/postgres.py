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
from cluster.errors import ServerFailed
from cluster.postgres_programs import PostgresPrograms

ROLE = "shortlist"
DATABASE = "shortlist"

# 20 + 10 connections from each serving process that talks to a database, and room for jobs, imports and psql.
MAX_CONNECTIONS = 400

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "64MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    # A replica that is away for longer is rebuilt; the primary's disk is not filled for it.
    "max_slot_wal_keep_size": "1GB",
    "jit": "off",
    "wal_retrieve_retry_interval": "200ms",
    "hot_standby_feedback": "on",
    "log_line_prefix": "%m [%p] %a ",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}


class PostgresServer:
    """
    A server on a Unix socket, and nothing else.

    Args:
        name: ``postgres-primary`` or ``postgres-replica-1``.
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
        if primary.query(f"select 1 from pg_replication_slots where slot_name = '{self.slot}'"):
            primary.query(f"select pg_drop_replication_slot('{self.slot}')")
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
        """Stream from *primary*, wherever its socket is now."""
        self.settings["primary_conninfo"] = (
            f"host={primary.sockets} port={primary.port} user={ROLE} application_name={self.slot}"
        )
        self.settings["primary_slot_name"] = self.slot

    @property
    def slot(self) -> str:
        """The replication slot on the primary, also the name that the primary knows this replica by."""
        return self.name.removeprefix("postgres-").replace("-", "_")

    def start(self, death_signal: signal.Signals = signal.SIGINT) -> None:
        """Start the server without waiting for it; it shuts down cleanly when the calling thread ends."""
        self._clear_leftovers()
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

    def wait_ready(self, timeout_s: float = 30.0) -> None:
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

    def answers(self) -> bool:
        """Return whether a query is answered."""
        try:
            return self.query("select 1", timeout_s=3.0) == "1"
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
            answer = self.query("select pg_is_in_recovery(), (select status from pg_stat_wal_receiver)", timeout_s=3.0)
        except ServerFailed:
            return False
        return answer == "t|streaming"

    def lost_its_place(self, primary: PostgresServer) -> bool:
        """Return whether *primary* no longer keeps what this replica would need to catch up."""
        status = primary.query(f"select wal_status from pg_replication_slots where slot_name = '{self.slot}'")
        return status in {"", "lost"}

    def descends_from(self, primary: PostgresServer) -> bool:
        """Return whether this data directory is a copy of *primary*'s cluster."""
        return self._system_identifier() == primary._system_identifier()

    def stop(self, timeout_s: float = 20.0) -> None:
        """Shut down cleanly, without waiting for sessions to end by themselves."""
        if self.process is not None:
            child.stop(self.process, signal.SIGINT, timeout_s=timeout_s)
            self.process = None

    def _failure(self, what: str) -> ServerFailed:
        return ServerFailed(f"{self.name} {what}. The end of {self.log}:\n{child.tail(self.log)}")

    def _system_identifier(self) -> str:
        text = self.programs.run("pg_controldata", str(self.data))
        return next((line for line in text.splitlines() if line.startswith("Database system identifier")), "")

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
                owner.send_signal(signal.SIGINT)
                with contextlib.suppress(psutil.TimeoutExpired):
                    owner.wait(20)
            lock.unlink(missing_ok=True)
        for leftover in (f".s.PGSQL.{self.port}", f".s.PGSQL.{self.port}.lock"):
            (self.sockets / leftover).unlink(missing_ok=True)
