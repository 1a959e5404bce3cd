"""The versions that the other deployments answer with, asked for beside the requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace

from deployments.graph_health import GraphHealth

log = logging.getLogger(__name__)

PERIOD_S = 1.0


@dataclass(frozen=True, slots=True)
class Deployed:
    """Version of the embeddings in search, of the factors and of the weights in ranking; None where none is known."""

    index: str | None = None
    cf: str | None = None
    weights: str | None = None


class DeployedVersions:
    """Asks search and ranking each second what they hold; what does not answer keeps the version it last named."""

    def __init__(self, health: GraphHealth) -> None:
        self.current = Deployed()
        self._health = health
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Ask once, then go on asking in the background."""
        await self.ask()
        self._watching = asyncio.create_task(self._watch(), name="deployed-versions")

    async def stop(self) -> None:
        """Stop asking."""
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
            self._watching = None

    @property
    def alive(self) -> bool:
        """Whether the task that asks has not died; true before the start and after the end."""
        return self._watching is None or not self._watching.done()

    async def ask(self) -> None:
        """Ask each once."""
        search, ranking = await asyncio.gather(self._health.status("search"), self._health.status("ranking"))
        if "version" in search:
            self.current = replace(self.current, index=search["version"])
        if "weights" in ranking:
            self.current = replace(self.current, cf=ranking["collaborative"]["version"], weights=ranking["weights"])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            try:
                await self.ask()
            except Exception:  # a watch that dies would hold every cached answer at one version without a word
                log.exception("the versions of search and ranking were not told")
