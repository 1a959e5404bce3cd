"""One node of a local Ray cluster: every port chosen, its own session directory, token authentication on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import child
from cluster.errors import ServerFailed
from cluster.ports import free_ports
from cluster.state_directory import project_root

# Each is an option of ``ray start``; all of them listen whether one wants it or not.
OPTION_PORTS = (
    "node-manager-port",
    "object-manager-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)
KEPT_SESSIONS = 2


@dataclass(frozen=True)
class NodePlan:
    """
    What a node is made of.

    Args:
        name: ``ray-serving``, ``ray-training`` or ``ray-worker-1``.
        directory: Its session directory, by a short path.
        cpus: Logical CPUs that it hands out.
        object_store_bytes: Shared memory for objects.
        niceness: Added to ours; positive gives way to others.
    """

    name: str
    directory: Path
    cpus: int
    object_store_bytes: int
    niceness: int = 0


class RayNode:
    """
    ``ray start --block`` under a keeper that lets no process of it escape.

    Args:
        plan: What it is made of.
        environment: Variables for its processes, over a clean copy of ours.
        python: The interpreter, by a path without blanks: Ray hands it to a shell unquoted.
        token: The file that holds the authentication token.
        log: Receives the output of ``ray start``.
        ports: Names of the ports to choose.
    """

    def __init__(
        self,
        plan: NodePlan,
        *,
        environment: Mapping[str, str],
        python: Path,
        token: Path,
        log: Path,
        ports: tuple[str, ...] = OPTION_PORTS,
    ) -> None:
        self.name = plan.name
        self.plan = plan
        self.log = log
        self.python = python
        self.token = token
        self.extra = dict(environment)
        self.ports = dict(zip(ports, free_ports(len(ports)), strict=True))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the node without waiting for it; all of it stops when the calling thread ends."""
        self._prune_sessions()
        options = {
            **{f"--{name}": self.ports[name] for name in OPTION_PORTS},
            # Workers take whatever port the system gives: two nodes would otherwise fight over one range.
            "--min-worker-port": 0,
            "--max-worker-port": 0,
            "--num-cpus": self.plan.cpus,
            "--object-store-memory": self.plan.object_store_bytes,
            "--temp-dir": self.plan.directory,
            **self.options(),
        }
        self.process = child.spawn(
            [
                sys.executable,
                "-m",
                "cluster.keeper",
                str(self.log),
                str(self.python),
                "-m",
                "ray.scripts.scripts",
                "start",
                "--block",
                "--disable-usage-stats",
                *self.flags(),
                *(f"{name}={value}" for name, value in options.items()),
            ],
            log=self.log,
            death_signal=signal.SIGTERM,
            niceness=self.plan.niceness,
            environment=self.environment(),
            directory=self.plan.directory,
        )

    def flags(self) -> tuple[str, ...]:
        """Return options of ``ray start`` that take no value."""
        return ()

    def options(self) -> dict[str, object]:
        """Return further options of ``ray start``."""
        return {}

    def environment(self) -> dict[str, str]:
        """Return the whole environment of its processes: ours without Ray's variables, then this cluster's."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        programs = str(self.python.parent)
        variables = {
            **clean,
            "PATH": os.pathsep.join([programs, clean.get("PATH", os.defpath)]),
            "PYTHONPATH": str(project_root()),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_TMPDIR": str(self.plan.directory),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_USAGE_STATS_CONFIG_PATH": str(self.plan.directory / "usage.json"),
            "RAY_ROTATION_MAX_BYTES": "16000000",
            "RAY_ROTATION_BACKUP_COUNT": "1",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            **self.extra,
        }
        if not os.access(variables.get("HOME", ""), os.W_OK):
            variables["HOME"] = str(self.plan.directory)
        return variables

    def answers(self) -> bool:
        """Return whether the node works."""
        raise NotImplementedError

    def wait_ready(self, timeout_s: float = 180.0) -> None:
        """
        Return once the node works.

        Raises:
            ServerFailed: it died, or did not work in time; the message holds the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} did not start. The end of {self.log}:\n{child.tail(self.log)}")
            time.sleep(0.1)

    def stop(self, timeout_s: float = 25.0) -> None:
        """Stop every process of the node."""
        if self.process is not None:
            child.stop(self.process, signal.SIGTERM, timeout_s=timeout_s)
            self.process = None

    def _prune_sessions(self) -> None:
        """Keep the logs of the last sessions and remove older ones."""
        self.plan.directory.mkdir(parents=True, exist_ok=True)
        sessions = sorted(path for path in self.plan.directory.glob("session_2*") if path.is_dir())
        for old in sessions[:-KEPT_SESSIONS]:
            shutil.rmtree(old, ignore_errors=True)
