"""What runs in a local stack, each part asked whether it really works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psutil
from pydantic import BaseModel

from cluster.errors import ClusterError
from cluster.local_postgres import PRIMARY, REPLICA, LocalPostgres
from cluster.local_stack import LocalStack
from cluster.ray_api import RayApi
from cluster.record import WORKER, StackRecord
from cluster.state_directory import StateDirectory
from cluster.valkey import ValkeyServer


class ProcessRow(BaseModel):
    """One process of the stack. Postgres servers have no TCP port: theirs is the number in the socket's name."""

    name: str
    pid: int
    port: int | None
    rss_bytes: int
    healthy: bool


class StackStatus(BaseModel):
    """The stack as a whole; ``url`` is None when nothing runs."""

    url: str | None
    processes: list[ProcessRow]


def status_of(stack: LocalStack) -> tuple[StackStatus, StackRecord | None]:
    """Return what runs, and the record it was read from; nothing and None when no stack runs."""
    record = stack.record()
    if record is None or record.condition in {"stopped", "failed"}:
        return StackStatus(url=None, processes=[]), None
    serving = stack_api(stack.state, record.dashboard_url)
    training = stack_api(stack.state, record.training_dashboard_url)
    replicas = replica_rows(serving)
    nodes = set() if serving is None else serving.living_nodes()
    rows = []
    for name, part in record.parts.items():
        process = part.process
        alive = process.process() is not None
        clusters = {"ray-serving": serving, "ray-training": training}
        memory = process.memory_bytes(descendants=True)
        if name == "ray-serving" or name.startswith(WORKER):
            below = process.descendants()
            memory -= sum(row.rss_bytes for row in replicas if row.pid in below)
        rows.append(
            ProcessRow(
                name=name,
                pid=process.pid,
                port=part.port,
                rss_bytes=max(0, memory),
                healthy=alive and _works(stack.state, name, clusters.get(name), nodes),
            )
        )
    order = [PRIMARY, REPLICA, "valkey", "ray-serving", "ray-training"]
    rows.sort(key=lambda row: (order.index(row.name) if row.name in order else len(order), row.name))
    return StackStatus(url=record.url, processes=[*rows, *replicas]), record


def extras(state: StateDirectory, record: StackRecord) -> dict[str, Any]:
    """Return where everything of a running stack is, for the JSON answer."""
    return {
        "condition": record.condition,
        "state_dir": str(state.root),
        "database_url": record.database_url,
        "replica_urls": record.replica_urls,
        "redis_url": record.redis_url,
        "artifacts": str(state.artifacts),
        "dashboard_url": record.dashboard_url,
        "training_dashboard_url": record.training_dashboard_url,
        "token_path": str(state.token),
        "logs": str(state.logs),
        "ports": record.ports,
        "rebuilds": [rebuild.model_dump() for rebuild in record.rebuilds],
        "restarts": {name: part.restarts for name, part in record.parts.items()},
    }


def postgres_ports(record: StackRecord) -> dict[str, int | None]:
    """Return the port of the server in each role."""
    return {name: part.port for name, part in record.parts.items() if name in {PRIMARY, REPLICA}}


def stack_api(state: StateDirectory, address: str | None) -> RayApi | None:
    """Return the dashboard at *address* of a stack, or None where there is no such cluster."""
    return None if address is None else RayApi(address, state.token.read_text().strip())


def replica_rows(serving: RayApi | None) -> list[ProcessRow]:
    """Return one row for each Serve replica that *serving* knows, by deployment and replica id."""
    if serving is None or not serving.answers():
        return []
    try:
        applications = serving.applications(timeout_s=15.0)["applications"]
    except (ClusterError, KeyError):
        return []
    found = [
        (deployment, replica)
        for application in applications.values()
        for deployment, details in application.get("deployments", {}).items()
        for replica in details.get("replicas", [])
        if replica.get("pid") is not None
    ]
    rows = [_replica_row(deployment, replica) for deployment, replica in found]
    return sorted(rows, key=lambda row: row.name)


def _replica_row(deployment: str, replica: Mapping[str, Any]) -> ProcessRow:
    pid = int(replica["pid"])
    try:
        memory = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        memory = 0
    return ProcessRow(
        name=f"serve:{deployment}:{replica['replica_id']}",
        pid=pid,
        port=None,
        rss_bytes=memory,
        healthy=memory > 0 and replica.get("state") == "RUNNING",
    )


def _works(state: StateDirectory, name: str, cluster: RayApi | None, nodes: set[str]) -> bool:
    """
    Ask the part itself: PING, the dashboard, whether a primary takes writes, whether a read replica streams.

    A worker node works when it is among *nodes*, those that its cluster counts as alive.
    """
    if name.startswith(WORKER):
        return name in nodes
    if cluster is not None:
        return cluster.answers()
    if name == "valkey":
        return ValkeyServer.of(state).answers()
    servers = LocalPostgres.of(state)
    return servers.replica.is_streaming() if name == REPLICA else servers.primary.is_writable()
