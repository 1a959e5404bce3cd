"""A whole running stack, as the `stack` fixture lends it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from cluster.local_stack import LocalStack
from cluster.status import extras, status_of
from tests.command import Shortlist

LOOKS = 6
"""Answers in a row that must be well: two gateways give them in turn, and each has breakers of its own."""


@dataclass(frozen=True)
class Stack:
    """A running stack with MovieLens-100K in it, trained and deployed."""

    shortlist: Shortlist
    demo: dict[str, Any]

    @property
    def url(self) -> str:
        """Where it answers."""
        return str(self.demo["url"])

    @property
    def state_dir(self) -> Path:
        """Where it keeps everything."""
        return self.shortlist.root

    @property
    def replica_urls(self) -> tuple[str, ...]:
        """Its read replicas."""
        return tuple(self.demo["replica_urls"])

    @property
    def redis_url(self) -> str:
        """Its cache."""
        return str(self.demo["redis_url"])

    @property
    def database_url(self) -> str:
        """Its primary."""
        return str(self.demo["database_url"])

    def status(self) -> dict[str, Any]:
        """What ``shortlist status --json`` says now; without a process that would compete with what is looked at."""
        state = self.shortlist.state
        found, record = status_of(LocalStack(state))
        assert record is not None, "the stack does not run"
        return {**found.model_dump(), **extras(state, record)}

    def is_well(self) -> bool:
        """Whether every part is as on a good day, for writes too: all of them answer, and no breaker is open."""
        with httpx.Client(base_url=self.url, timeout=15) as client:
            return all(_is_well(client.get("/health")) for _ in range(LOOKS))


def _is_well(response: httpx.Response) -> bool:
    if response.status_code != httpx.codes.OK:
        return False
    health = response.json()
    processes = [health, *health["deployments"].values()]
    states = {breaker["state"] for each in processes for breaker in each.get("breakers", {}).values()}
    return bool(health["status"] == "ok") and states <= {"closed"}
