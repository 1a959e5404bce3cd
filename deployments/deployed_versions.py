"""What the other deployments say of themselves, asked for beside the requests: the versions they answer with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from contracts.arms import in_share, personal_to, searcher
from contracts.background import end
from contracts.requests import ReadRequest
from contracts.versions import Versions
from deployments.graph_health import GraphHealth

log = logging.getLogger(__name__)

PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Canary:
    """A version that a share of users gets."""

    version: str
    share: float

    @classmethod
    def told(cls, trial: Mapping[str, Any] | None) -> Canary | None:
        """The canary that a deployment says it takes part in, or None."""
        return cls(trial["version"], trial["share"]) if trial is not None and trial["mode"] == "canary" else None

    def gets(self, subject: str | None) -> bool:
        """Whether *subject* gets the version."""
        return subject is not None and in_share(self.share, self.version, subject)


@dataclass(frozen=True, slots=True)
class Deployed:
    """
    Version of the embeddings in search, of the factors and of the weights in ranking; None where none is known.

    Canaries: those that search and recommendation say they take part in.
    """

    index: str | None = None
    cf: str | None = None
    weights: str | None = None
    index_canary: Canary | None = None
    cf_canary: Canary | None = None


class DeployedVersions:
    """
    Asks each deployment each second how it is; what does not answer keeps the versions it last named.

    That also shows a replica that hangs before a request finds it, and is a probe where a circuit breaker is half open.
    Each is asked by a task of its own, so that one that hangs holds up no other.
    """

    def __init__(self, health: GraphHealth) -> None:
        self.current = Deployed()
        self._health = health
        self._watching: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Ask once, then go on asking in the background."""
        await self.ask()
        self._watching = [
            asyncio.create_task(self._watch(name), name=f"deployed-versions-{name}") for name in self._health.parts
        ]

    async def stop(self) -> None:
        """Stop asking."""
        await end(*self._watching)
        self._watching = []

    @property
    def alive(self) -> bool:
        """Whether no task that asks has died; true before the start and after the end."""
        return not any(task.done() for task in self._watching)

    async def ask(self) -> None:
        """Ask each once."""
        await asyncio.gather(*(self._ask(name) for name in self._health.parts))

    def of_arm(self, request: ReadRequest, versions: Versions) -> Versions:
        """Return the versions of an answer to *request*: *versions*, or a canary's where it is for one of its users."""
        index, cf = self.current.index_canary, self.current.cf_canary
        if index is not None and index.gets(searcher(request)):
            versions = replace(versions, index=index.version)
        if cf is not None and cf.gets(personal_to(request)):
            versions = replace(versions, cf=cf.version)
        return versions

    async def _ask(self, name: str) -> None:
        status = await self._health.status(name)
        if name == "search" and "version" in status:
            canary = Canary.told(status.get("trial"))
            self.current = replace(self.current, index=status["version"], index_canary=canary)
        if name == "recommendation" and "trial" in status:
            self.current = replace(self.current, cf_canary=Canary.told(status["trial"]))
        if name == "ranking" and "weights" in status:
            self.current = replace(self.current, cf=status["collaborative"]["version"], weights=status["weights"])

    async def _watch(self, name: str) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self._ask(name)
            except Exception:  # a watch that dies would hold every cached answer at one version without a word
                log.exception("the versions of %s were not told", name)
