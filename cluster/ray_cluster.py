"""One local Ray cluster: its head node, and worker nodes that join it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from cluster.ray_api import RayApi
from cluster.ray_node import OPTION_PORTS, NodePlan, RayNode
from cluster.serve_settings import SERVE_PORTS, serve_settings

HEAD_PORTS = ("port", "ray-client-server-port")
# Each is an environment variable, read where the process starts.
VARIABLE_PORTS = ("DASHBOARD_METRIC_PORT",)


class RayCluster(RayNode):
    """
    A head node.

    Args:
        plan: What it is made of.
        dashboard_port: The dashboard's port on loopback.
        environment: Variables for its processes, over a clean copy of ours.
        python: The interpreter, by a path without blanks: Ray hands it to a shell unquoted.
        haproxy: Directory for HAProxy's files, by a short path, where Ray Serve runs; else None.
        token: The file that holds the authentication token.
        log: Receives the output of ``ray start``.
    """

    def __init__(
        self,
        plan: NodePlan,
        *,
        dashboard_port: int,
        environment: Mapping[str, str],
        python: Path,
        haproxy: Path | None,
        token: Path,
        log: Path,
    ) -> None:
        ports = (*HEAD_PORTS, *OPTION_PORTS, *VARIABLE_PORTS, *(() if haproxy is None else SERVE_PORTS))
        super().__init__(plan, environment=environment, python=python, token=token, log=log, ports=ports)
        self.dashboard_port = dashboard_port
        self.haproxy = haproxy
        self.api = RayApi(f"http://127.0.0.1:{dashboard_port}", token.read_text().strip())

    def start(self) -> None:
        """Start the cluster without waiting for it; all of it stops when the calling thread ends."""
        if self.haproxy is not None:
            shutil.rmtree(self.haproxy, ignore_errors=True)
            self.haproxy.mkdir(parents=True)
            front = self.haproxy / "haproxy"
            front.write_text(f'#!/bin/sh\nexec {self.python} -m cluster.haproxy_front "$@"\n')
            front.chmod(0o755)
        super().start()

    def flags(self) -> tuple[str, ...]:
        """Return options of ``ray start`` that take no value."""
        return ("--head", "--no-monitor")

    def options(self) -> dict[str, object]:
        """Return further options of ``ray start``."""
        return {
            **{f"--{name}": self.ports[name] for name in HEAD_PORTS},
            "--dashboard-host": "127.0.0.1",
            "--dashboard-port": self.dashboard_port,
            "--include-dashboard": "true",
            # Workers' output reaches a job's log through it; Serve writes its own files.
            "--include-log-monitor": "true" if self.haproxy is None else "false",
        }

    def environment(self) -> dict[str, str]:
        """Return the whole environment of its processes."""
        variables = super().environment() | {name: str(self.ports[name]) for name in VARIABLE_PORTS}
        if self.haproxy is not None:
            variables |= serve_settings(self.haproxy, self.ports)
        return variables

    def answers(self) -> bool:
        """Return whether the dashboard answers."""
        return self.api.answers()


class RayWorker(RayNode):
    """
    A further node of *cluster*, on the same machine: what a second machine would be, to be killed or frozen apart.

    Args:
        cluster: What it joins; it has its token and its settings.
        plan: What it is made of.
        log: Receives the output of ``ray start``.
    """

    def __init__(self, cluster: RayCluster, plan: NodePlan, *, log: Path) -> None:
        super().__init__(plan, environment={}, python=cluster.python, token=cluster.token, log=log)
        self.cluster = cluster

    def options(self) -> dict[str, object]:
        """Return further options of ``ray start``."""
        return {"--address": f"127.0.0.1:{self.cluster.ports['port']}", "--node-name": self.name}

    def environment(self) -> dict[str, str]:
        """Return the cluster's own, so that a replica finds here what it would find there."""
        return self.cluster.environment() | {"RAY_TMPDIR": str(self.plan.directory)}

    def answers(self) -> bool:
        """Return whether the cluster counts it among its living nodes."""
        return self.name in self.cluster.api.living_nodes()
