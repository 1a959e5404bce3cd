"""What our own code logs, in the replica's log of Serve."""

from __future__ import annotations

import logging

from ray import serve
from ray.serve.exceptions import RayServeException

ROOMS = ("artifacts", "catalogue", "contracts", "deployments", "ranking", "retrieval", "storage", "shortlist")


def log_beside_serve() -> None:
    """
    Log what our rooms say from INFO on where Serve logs what it says, with the level it has; in a replica alone.

    Without it only warnings arrive, through stderr, and all of them as INFO.
    """
    try:
        serve.get_replica_context()
    except RayServeException:
        return
    log_beside(logging.getLogger("ray.serve"))


def log_beside(other: logging.Logger) -> None:
    """Log what our rooms say where *other* logs, from the level on that it logs."""
    for name in ROOMS:
        room = logging.getLogger(name)
        room.handlers = list(other.handlers)
        room.setLevel(other.level)
