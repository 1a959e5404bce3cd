"""One local Ray cluster: every port chosen, its own session directory, token authentication on."""

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
from cluster.ray_api import RayApi
from cluster.state_directory import project_root

# Each is an option of ``ray start``; all of them listen whether one wants it or not.
OPTION_PORTS = (
    "port",
    "node-manager-port",
    "object-manager-port",
    "ray-client-server-port",
    "dashboard-agent-listen-port",
    "dashboard-agent-grpc-port",
    "runtime-env-agent-port",
    "metrics-export-port",
)
# Each is an environment variable, read where the process starts.
VARIABLE_PORTS = ("DASHBOARD_METRIC_PORT",)
SERVE_VARIABLE_PORTS = (
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
)
KEPT_SESSIONS = 2


@dataclass(frozen=True)
class RayPlan:
    """
    What a cluster is made of.

    Args:
        name: ``ray-serving`` or ``ray-training``.
        directory: Its session directory, by a short path.
        dashboard_port: The dashboard's port on loopback.
        cpus: Logical CPUs that it hands out.
        object_store_bytes: Shared memory for objects.
        serves: Whether Ray Serve runs there, with HAProxy before it.
    """

    name: str
    directory: Path
    dashboard_port: int
    cpus: int
    object_store_bytes: int
    serves: bool


class RayCluster:
    """
    A head node and nothing else, under a keeper that lets no process of it escape.

    Args:
        plan: What it is made of.
        environment: Variables for its processes, over a clean copy of ours.
        python: The interpreter, by a path without blanks: Ray hands it to a shell unquoted.
        haproxy: Directory for HAProxy's files, by a short path.
        token: The file that holds the authentication token.
        log: Receives the output of ``ray start``.
    """

    def __init__(
        self, plan: RayPlan, *, environment: Mapping[str, str], python: Path, haproxy: Path, token: Path, log: Path
    ) -> None:
        self.name = plan.name
        self.plan = plan
        self.log = log
        self.haproxy = haproxy
        self.python = python
        self.token = token
        self.extra = dict(environment)
        self.ports = self._choose_ports()
        self.process: subprocess.Popen[bytes] | None = None
        self.api = RayApi(f"http://127.0.0.1:{plan.dashboard_port}", token.read_text().strip())

    def start(self) -> None:
        """Start the cluster without waiting for it; all of it stops when the calling thread ends."""
        self._prune_sessions()
        if self.plan.serves:
            shutil.rmtree(self.haproxy, ignore_errors=True)
            self.haproxy.mkdir(parents=True)
        ports = {f"--{name}": self.ports[name] for name in OPTION_PORTS}
        options = {
            **ports,
            # Workers take whatever port the system gives: two clusters would otherwise fight over one range.
            "--min-worker-port": 0,
            "--max-worker-port": 0,
            "--dashboard-host": "127.0.0.1",
            "--dashboard-port": self.plan.dashboard_port,
            "--include-dashboard": "true",
            # Workers' output reaches a job's log through it; Serve writes its own files.
            "--include-log-monitor": "false" if self.plan.serves else "true",
            "--num-cpus": self.plan.cpus,
            "--object-store-memory": self.plan.object_store_bytes,
            "--temp-dir": self.plan.directory,
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
                "--head",
                "--block",
                "--no-monitor",
                "--disable-usage-stats",
                *(f"{name}={value}" for name, value in options.items()),
            ],
            log=self.log,
            death_signal=signal.SIGTERM,
            # Answers come before training where there are too few CPUs for both.
            niceness=0 if self.plan.serves else 10,
            environment=self.environment(),
            directory=self.plan.directory,
        )

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
            **{name: str(self.ports[name]) for name in VARIABLE_PORTS},
            **self.extra,
        }
        if self.plan.serves:
            variables |= {
                "OMP_NUM_THREADS": "1",
                "RAY_SERVE_ENABLE_HA_PROXY": "1",
                # A body of 10 MiB travels from the gateway to ingestion.
                "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(64 * 1024 * 1024),
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
                # Which would keep a thousand lines of a replica's log in memory: a killed one would take them along.
                "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
                "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(self.haproxy / "cfg"),
                "RAY_SERVE_HAPROXY_SOCKET_PATH": str(self.haproxy / "admin"),
                "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(self.haproxy),
                "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(self.haproxy / "state"),
                "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(self.haproxy / "metrics"),
                **{name: str(self.ports[name]) for name in SERVE_VARIABLE_PORTS},
            }
        if not os.access(variables.get("HOME", ""), os.W_OK):
            variables["HOME"] = str(self.plan.directory)
        return variables

    def answers(self) -> bool:
        """Return whether the dashboard answers."""
        return self.api.answers()

    def wait_ready(self, timeout_s: float = 180.0) -> None:
        """
        Return once the dashboard answers.

        Raises:
            ServerFailed: the cluster died, or did not answer in time; the message holds the end of its log.
        """
        deadline = time.monotonic() + timeout_s
        while not self.answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} did not start. The end of {self.log}:\n{child.tail(self.log)}")
            time.sleep(0.1)

    def stop(self, timeout_s: float = 25.0) -> None:
        """Stop every process of the cluster."""
        if self.process is not None:
            child.stop(self.process, signal.SIGTERM, timeout_s=timeout_s)
            self.process = None

    def _choose_ports(self) -> dict[str, int]:
        names = (*OPTION_PORTS, *VARIABLE_PORTS, *(SERVE_VARIABLE_PORTS if self.plan.serves else ()))
        return dict(zip(names, free_ports(len(names)), strict=True))

    def _prune_sessions(self) -> None:
        """Keep the logs of the last sessions and remove older ones."""
        self.plan.directory.mkdir(parents=True, exist_ok=True)
        sessions = sorted(path for path in self.plan.directory.glob("session_2*") if path.is_dir())
        for old in sessions[:-KEPT_SESSIONS]:
            shutil.rmtree(old, ignore_errors=True)
