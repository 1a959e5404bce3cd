"""How many replicas Serve has put in the place of others, as any process of the cluster can see it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ray.serve.context import _get_global_client

from contracts.background import end
from deployments.metrics import Sample

PERIOD_S = 10.0
ANSWER_S = 5.0
WINDOW_S = 600.0
WANTED_ELSEWISE = frozenset({"UPDATING", "UPSCALING", "DOWNSCALING"})
"""States of a deployment in which new replicas are what somebody asked for."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A deployment at one look."""

    status: str
    wanted: int
    replicas: frozenset[str]


class Replacements:
    """
    Counts, for each deployment, the replicas that came without being asked for: one before them had died.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._replaced: dict[str, deque[float]] = {}

    def look(self, deployments: Mapping[str, Mapping[str, Any]]) -> None:
        """Compare *deployments*, as Serve describes them, with the look before."""
        for name, described in deployments.items():
            now = _Seen(
                status=str(getattr(described["status"], "value", described["status"])),
                wanted=int(described["target_num_replicas"]),
                replicas=frozenset(str(replica["replica_id"]) for replica in described["replicas"]),
            )
            before = self._seen.get(name)
            self._seen[name] = now
            self._replaced.setdefault(name, deque())
            if before is not None:
                self._note(name, _replaced(before, now))

    def counts(self) -> dict[str, int]:
        """Return, for each deployment, how many replicas were replaced within the last ten minutes."""
        oldest = self._clock() - WINDOW_S
        for times in self._replaced.values():
            while times and times[0] < oldest:
                times.popleft()
        return {name: len(times) for name, times in self._replaced.items()}

    def samples(self) -> Iterator[Sample]:
        """Yield the figures that are exported."""
        for name, count in self.counts().items():
            yield Sample(
                "shortlist_replica_restarts",
                "Replicas of the deployment that took the place of one that had died, in the last ten minutes.",
                count,
                tags={"part": name},
            )

    def _note(self, name: str, replaced: int) -> None:
        if replaced:
            self._replaced[name].extend([self._clock()] * replaced)
            log.warning("%s: %d replaced, %d within ten minutes", name, replaced, self.counts()[name])


def _replaced(before: _Seen, now: _Seen) -> int:
    if WANTED_ELSEWISE & {before.status, now.status}:
        return 0
    return max(0, len(now.replicas - before.replicas) - max(0, now.wanted - before.wanted))


class ReplacementWatch:
    """
    Asks Serve each ten seconds how the deployments of this application are.

    A controller that does not answer is asked again the next time.

    Args:
        replacements: Told of what it says.
        ask: Returns the deployments as Serve describes them, by name.
    """

    def __init__(
        self,
        replacements: Replacements,
        ask: Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]],
        *,
        period_s: float = PERIOD_S,
    ) -> None:
        self._replacements = replacements
        self._ask = ask
        self._period_s = period_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Ask in the background."""
        self._task = asyncio.create_task(self._run(), name="replacements")

    @property
    def alive(self) -> bool:
        """Whether the task that asks has not died; true before the start and after the end."""
        return self._task is None or not self._task.done()

    async def stop(self) -> None:
        """Stop asking."""
        await end(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    self._replacements.look(await self._ask())
            except Exception as error:  # noqa: BLE001 - whatever the controller suffers from, the next look may see more
                log.info("Serve did not say how the deployments are: %r", error)
            await asyncio.sleep(self._period_s)


async def deployments_of(application: str) -> Mapping[str, Mapping[str, Any]]:
    """Return how the deployments of *application* are, by name, as the Serve controller describes them."""
    # What serve.status() asks too, which blocks and leaves out the replicas' names.
    client = _get_global_client()
    assert client is not None
    details = await client._controller.get_serve_instance_details.remote()  # noqa: SLF001
    found: Mapping[str, Mapping[str, Any]] = details["applications"][application]["deployments"]
    return found
