"""Whether the servers have connections for everybody."""

from __future__ import annotations

from collections.abc import Mapping

from storage.config import StorageConfig

PROBES = 1
"""Connections of each process to each server beside its pool: the one that asks how the server is."""


def connection_budget(maximum_replicas: Mapping[str, int], config: StorageConfig, *, sessions: int = 0) -> int:
    """
    Return the most connections that all processes together open to one server.

    Args:
        maximum_replicas: The most replicas of each deployment that uses the database, by its name.
        config: The pools' sizes; they are the same for the primary and each read replica.
        sessions: Connections that all processes together hold beside that, for work of their own.
    """
    return sum(maximum_replicas.values()) * (config.most_connections + PROBES) + sessions


def budget_problem(
    maximum_replicas: Mapping[str, int],
    config: StorageConfig,
    usable: Mapping[str, int | None],
    *,
    sessions: int = 0,
) -> str | None:
    """
    Return what to say where the connections do not suffice, and what to set; None where they do.

    Args:
        maximum_replicas: As for `connection_budget`.
        config: As for `connection_budget`.
        usable: By server, the connections it has for us; None where it has not said.
        sessions: As for `connection_budget`.
    """
    needed = connection_budget(maximum_replicas, config, sessions=sessions)
    short = {name: limit for name, limit in usable.items() if limit is not None and limit < needed}
    if not short:
        return None
    processes = sum(maximum_replicas.values())
    fitting = (min(short.values()) - sessions) // max(1, processes) - PROBES
    beside = f", {sessions} beside" if sessions else ""
    servers = ", ".join(f"{name} has {limit}" for name, limit in sorted(short.items()))
    advice = (
        f"or lower storage.pool_size + storage.pool_overflow to at most {fitting}"
        if fitting > 0
        else "or run fewer replicas"
    )
    return (
        f"{processes} processes may open {needed} database connections to one server "
        f"({config.pool_size} + {config.pool_overflow} + {PROBES} each{beside}), but {servers}. "
        f"Raise max_connections by {needed - min(short.values())}, {advice}."
    )
