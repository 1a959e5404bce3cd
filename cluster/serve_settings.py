"""What Ray Serve is told through the environment of its nodes; docs/operations.md says what each is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Each is an environment variable, read where the process starts.
SERVE_PORTS = (
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_HAPROXY_METRICS_PORT",
)


# How soon what is dead or frozen in front of the replicas is noticed; the same in production.
NOTICING = {
    # The proxy is checked each second; three failures in a row and it is replaced.
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "3",
    # It may take longer to start: a busy machine would be given one after another, none of them ready in time.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "15",
    # One that is frozen is not waited for; the controller does nothing else meanwhile.
    "RAY_SERVE_PROXY_GRACEFUL_SHUTDOWN_TIMEOUT_S": "1",
    # A gateway that does not answer two checks within two seconds each gets no request until it answers one. With less
    # time one that is merely busy would be passed over, and the others would get its load.
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "2s",
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
}

# What a worker process imports before it has anything to do: with it, a replica starts in a spare one within a second.
PRELOADED = {"RAY_preload_python_modules": "ray.serve._private.replica,graph"}


def serve_settings(haproxy: Path, ports: Mapping[str, int]) -> dict[str, str]:
    """
    Return the variables of a serving node.

    Args:
        haproxy: Directory for HAProxy's files, by a short path.
        ports: A port for each of `SERVE_PORTS`.
    """
    return {
        "OMP_NUM_THREADS": "1",
        # Ray's 15 would have replicas wait for whatever else runs on the machine.
        "RAY_worker_niceness": "0",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        # A body of 10 MiB travels from the gateway to ingestion.
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(64 * 1024 * 1024),
        # What is too much is refused before Serve has worked on it.
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.http.refusals:middlewares",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Which would keep a thousand lines of a replica's log in memory: a killed one would take them along.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
        # Ray's hour would let whoever sends a header a minute hold connections until none are left.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "30",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(haproxy / "cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(haproxy / "admin"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(haproxy),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(haproxy / "state"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(haproxy / "metrics"),
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(haproxy / "haproxy"),
        **NOTICING,
        **PRELOADED,
        **{name: str(ports[name]) for name in SERVE_PORTS},
    }
