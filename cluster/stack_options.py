"""What ``shortlist up`` was asked for, as it travels to the supervisor."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

Part = Literal["postgres", "valkey", "ray-serving", "ray-training"]
ALL_PARTS: tuple[Part, ...] = get_args(Part)


class StackOptions(BaseModel):
    """Addresses, already settled (no port is 0), which parts to run, and whether writes wait for the replica."""

    model_config = ConfigDict(frozen=True)

    state_dir: str
    http_host: str = "127.0.0.1"
    http_port: int
    dashboard_port: int
    training_dashboard_port: int
    parts: tuple[Part, ...] = ALL_PARTS
    synchronous: bool = False
