"""TCP ports: free ones, and who holds the others."""

from __future__ import annotations

import contextlib
import random
import socket

import psutil

from cluster.errors import PortInUse

# Below what systems give to outgoing connections (Linux: from 32768), which would take a port that is still unused.
CHOICE = range(12_000, 29_900)

_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return *count* ports that nobody listens on, on any interface, and that were not returned before."""
    ports: list[int] = []
    for port in random.SystemRandom().sample(CHOICE, len(CHOICE)):
        if len(ports) == count:
            break
        if port not in _given and _is_free(port):
            ports.append(port)
    _given.update(ports)
    return ports


def set_aside(*ports: int) -> None:
    """Have `free_ports` return none of *ports*: another process has chosen them and does not listen on them yet."""
    _given.update(ports)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def require_free(host: str, port: int, *, option: str) -> int:
    """
    Return *port*, or a free one for 0.

    Raises:
        PortInUse: somebody listens on it; the message names the process where that can be known.
    """
    if port == 0:
        return free_ports(1)[0]
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        # A port that a stopped stack used a moment ago is free, though its last connections still fade.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(
                f"Port {port} cannot be used: {holder_of(port) or error.strerror}. "
                f"Choose another with {option} (0 takes any free one)."
            ) from error
    return port


def holder_of(port: int) -> str | None:
    """Return who listens on *port*, in words, or None where that cannot be known."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    for each in connections:
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port:
            if each.pid is None:
                return "a process of another user listens on it"
            with contextlib.suppress(psutil.Error):
                return f"process {each.pid} ({psutil.Process(each.pid).name()}) listens on it"
    return None
