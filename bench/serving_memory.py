"""How much memory the processes of a serving cluster take."""

from __future__ import annotations

from collections import defaultdict

import psutil

MIB = 1 << 20


def serving_memory(port: int) -> dict[str, tuple[int, float]]:
    """
    Return kind of process to (number, MiB): the HAProxy that listens on *port* and all of its Ray session.

    Shared pages count in parts (PSS), so that the sum is what the machine spends.
    """
    session = _session(port)
    found: dict[str, list[float]] = defaultdict(list)
    for process in psutil.process_iter(["name"]):
        try:
            if session not in " ".join([*process.cmdline(), *process.environ().values()]):
                continue
            memory = process.memory_full_info()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        found[_kind(process)].append(memory.pss / MIB)
    return {kind: (len(sizes), sum(sizes)) for kind, sizes in sorted(found.items())}


def _session(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            environment = psutil.Process(connection.pid).environ()
            return environment["RAY_SERVE_HAPROXY_SOCKET_PATH"].rsplit("/", 2)[0]
    raise SystemExit(f"No HAProxy of Ray Serve listens on port {port} of this machine.")


def _kind(process: psutil.Process) -> str:
    title = process.cmdline()[0] if process.cmdline() else process.name()
    if title.startswith("ray::ServeReplica:"):
        return title.split(":")[4].split(" ")[0].split(".")[0]
    return "haproxy" if "haproxy" in title else "other"
