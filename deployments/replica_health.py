"""Whether a replica's own process can still do its work, whatever the servers that it depends on do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from deployments.metrics import Sample

FAILURES_UNTIL_REPLACED = 3
"""Serve replaces a replica whose health check failed so often in a row."""

EXECUTOR_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


class ReplicaUnhealthy(Exception):
    """This process cannot do its work, and only another one can: Serve is to replace it."""


class Watcher(Protocol):
    """A task or a thread beside the requests, which never ends by itself."""

    @property
    def alive(self) -> bool:
        """Whether it has not died. One that waits for a server lives."""


class ReplicaHealth:
    """
    Fails for what a fresh process would mend, and for nothing else.

    That is a watcher that has died, threads of which none comes free, and something in memory that answered once and
    does so no more. That the event loop turns, `check` shows by returning. A server that is down must never get a
    replica killed: the next one would not reach it either.

    Args:
        executor_timeout_s: How long the default executor, which the requests use too, may take to run the probes.
    """

    def __init__(self, *, executor_timeout_s: float = EXECUTOR_TIMEOUT_S) -> None:
        self._watchers: dict[str, Watcher] = {}
        self._probes: dict[str, Callable[[], str | None]] = {}
        self._executor_timeout_s = executor_timeout_s
        self._probing: asyncio.Future[list[str]] | None = None
        self._failures_in_a_row = 0
        self._failures = 0
        self._problem: str | None = None

    def watch(self, **watchers: Watcher) -> None:
        """Fail from now on when one of *watchers*, which run beside the requests, has died."""
        self._watchers |= watchers

    def probe(self, **probes: Callable[[], str | None]) -> None:
        """
        Fail from now on when one of *probes* returns what is wrong, or raises.

        They look at what is in memory, in a thread; none may wait for a server.
        """
        self._probes |= probes

    async def check(self) -> None:
        """
        Return if this process is well.

        Raises:
            ReplicaUnhealthy: it is not.
        """
        problems = [f"{name} has died" for name, watcher in self._watchers.items() if not watcher.alive]
        problems += await self._probed()
        if not problems:
            if self._failures_in_a_row:
                log.info("the health check passes again after %d that failed in a row", self._failures_in_a_row)
            self._failures_in_a_row, self._problem = 0, None
            return
        self._failures += 1
        self._failures_in_a_row += 1
        self._problem = "; ".join(problems)
        log.warning(
            "health check failed, %d in a row (Serve replaces the replica after %d): %s",
            self._failures_in_a_row,
            FAILURES_UNTIL_REPLACED,
            self._problem,
        )
        raise ReplicaUnhealthy(self._problem)

    def status(self) -> dict[str, Any]:
        """Say how many checks have failed, in all and of late, and why the last one did."""
        return {
            "failures": self._failures,
            "failures_in_a_row": self._failures_in_a_row,
            "problem": self._problem,
        }

    def samples(self) -> Iterator[Sample]:
        """Yield the figures that are exported."""
        yield Sample(
            "shortlist_health_check_failures",
            "Health checks of this replica that failed in a row; Serve replaces it after three.",
            self._failures_in_a_row,
        )

    async def _probed(self) -> list[str]:
        """What the probes find; that the executor is stuck where they do not come to run."""
        if self._probing is None or self._probing.done():
            self._probing = asyncio.get_running_loop().run_in_executor(None, self._probe)
        done, _ = await asyncio.wait([self._probing], timeout=self._executor_timeout_s)
        if not done:
            return [f"no thread came free and did its work within {self._executor_timeout_s:g} s"]
        return self._probing.result()

    def _probe(self) -> list[str]:
        found = []
        for name, probe in self._probes.items():
            try:
                problem = probe()
            except Exception as error:  # noqa: BLE001 - what a probe cannot stand is what it is there to find
                problem = f"{type(error).__name__}: {error}"
            if problem is not None:
                found.append(f"{name}: {problem}")
        return found
