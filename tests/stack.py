"""A whole running stack, as the `stack` fixture lends it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.command import Shortlist


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
        """What ``shortlist status --json`` says now."""
        return self.shortlist.ask("status")
