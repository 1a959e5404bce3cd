"""What ``shortlist up`` was asked for, as it travels to the supervisor."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Part = Literal["postgres", "valkey", "ray-serving", "ray-training"]
ALL_PARTS: tuple[Part, ...] = get_args(Part)


class StackOptions(BaseModel):
    """
    What to run, and where.

    Attributes:
        state_dir: Holds everything of the stack.
        http_host: Address that Serve's HTTP listens on.
        http_port: Its port; like the other two already settled, never 0.
        dashboard_port: Of the serving cluster's dashboard.
        training_dashboard_port: Of the training cluster's dashboard.
        parts: Which servers and clusters.
        synchronous: Whether writes wait for the read replica.
        workers: Ray nodes beside the head of the serving cluster.
    """

    model_config = ConfigDict(frozen=True)

    state_dir: str
    http_host: str = "127.0.0.1"
    http_port: int
    dashboard_port: int
    training_dashboard_port: int
    parts: tuple[Part, ...] = ALL_PARTS
    synchronous: bool = False
    workers: int = 0
