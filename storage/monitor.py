"""Looks at the servers each second: who answers, how far the replicas lag, who is the primary."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import asyncpg

from contracts.background import end
from storage.endpoint import Endpoint
from storage.named_queries import QUERIES
from storage.progress import PROBE_TIMEOUT_S
from storage.routing import Router
from storage.server_failures import SERVER_FAILURES, text_of

logger = logging.getLogger(__name__)

PERIOD_S = 1.0
REPLAY_GRACE_S = 0.1
"""How long a replica is given to show the newest heartbeat before it counts as behind."""
HOSTS_EVERY_S = 5.0
"""How often the hosts of the primary's URL are asked whether another one is the primary, unprovoked."""


class Monitor:
    """
    Beats the heart on the primary and looks for that beat on each replica: the difference is the replica's lag.

    Args:
        primary: Takes the beat.
        replicas: Show it.
        router: Told what was found.

    Attributes:
        primary_answers: Whether the primary answered its last probe.
        measured: Set once every server was looked at.
    """

    def __init__(self, primary: Endpoint, replicas: Sequence[Endpoint], router: Router) -> None:
        self.primary_answers = True
        self.measured = asyncio.Event()
        self._primary = primary
        self._replicas = replicas
        self._router = router
        self._following: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Look, each second, until cancelled."""
        while True:
            started = time.monotonic()
            try:
                await self._look()
            except Exception:  # a monitor that dies would freeze what is known of the servers without a word
                logger.exception("looking at the database endpoints failed")
            self.measured.set()
            await asyncio.sleep(max(0.05, PERIOD_S - (time.monotonic() - started)))

    def failed(self, endpoint: Endpoint, error: BaseException) -> None:
        """Note that *endpoint* does not answer."""
        endpoint.progress.forget()
        if endpoint is self._primary:
            self._set_primary(error)
            return
        gate = self._router.gates[endpoint.name]
        if gate.answers:
            logger.warning("database endpoint %s does not answer: %s", endpoint.name, text_of(error))
        gate.failed()

    async def close(self) -> None:
        """End what runs in the background."""
        await end(self._following)

    async def _look(self) -> None:
        beat = await self._beat()
        await asyncio.gather(*(self._measure(replica, beat) for replica in self._replicas))
        newer = beat is not None and any((r.progress.timeline or 0) > beat["timeline"] for r in self._replicas)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow(provoked=newer), name="database-follow")

    async def _beat(self) -> asyncpg.Record | None:
        """Return the newest heartbeat on the primary, or None where it cannot be told."""
        beat: asyncpg.Record | None = None
        began_at = time.monotonic()
        probe = self._primary.breaker.begin_background_probe()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                beat = await self._primary.probe(QUERIES["beat"], QUERIES["last_beat"])
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
            pass  # not migrated yet
        except SERVER_FAILURES as error:
            probe.failed()
            self.failed(self._primary, error)
            return None
        probe.succeeded()
        self._set_primary(None)
        self._primary.progress.saw(beat, began_at=began_at)
        self._primary.keep_warm()
        return beat

    async def _measure(self, replica: Endpoint, beat: asyncpg.Record | None) -> None:
        """Tell the router the replica's lag behind *beat*, the primary's newest heartbeat, just read."""
        lag_ms: float | None = None
        probe = replica.breaker.begin_background_probe()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                lag_ms = await _lag_ms(replica, beat)
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
            pass  # not migrated yet
        except SERVER_FAILURES as error:
            probe.failed()
            self.failed(replica, error)
            return
        probe.succeeded()
        self._tell(replica, lag_ms)
        replica.keep_warm()

    def _tell(self, replica: Endpoint, lag_ms: float | None) -> None:
        gate = self._router.gates[replica.name]
        answered, lagged = gate.answers, gate.lagging
        gate.measured(lag_ms)
        if gate.answers and not answered:
            logger.info("database endpoint %s answers again", replica.name)
        if gate.lagging != lagged:
            logger.warning(
                "database endpoint %s %s: %.0f ms behind",
                replica.name,
                "is not read from" if gate.lagging else "has caught up",
                lag_ms or 0.0,
            )

    def _set_primary(self, error: BaseException | None) -> None:
        if self.primary_answers and error is not None:
            logger.warning("database endpoint primary does not answer: %s", text_of(error))
        if not self.primary_answers and error is None:
            logger.info("database endpoint primary answers again")
        self.primary_answers = error is None

    async def _follow(self, *, provoked: bool) -> None:
        """Look whether the roles among the hosts of a URL have changed, where there are several."""
        with suppress(*SERVER_FAILURES):
            await self._primary.hosts.check(apart_s=PERIOD_S if provoked else HOSTS_EVERY_S)
        for replica in self._replicas:
            if replica.progress.in_recovery is False:
                with suppress(*SERVER_FAILURES):
                    await replica.hosts.check(apart_s=HOSTS_EVERY_S)


async def _lag_ms(replica: Endpoint, beat: asyncpg.Record | None) -> float | None:
    """Return how long *beat* took to appear on *replica*, or how old the beat is that it shows instead."""
    started = time.monotonic()
    pause_s = 0.002
    while True:
        began_at = time.monotonic()
        seen = await replica.probe(QUERIES["last_beat"])
        replica.progress.saw(seen, began_at=began_at)
        if beat is None or seen is None:
            return None
        elapsed_s = time.monotonic() - started
        if seen["timeline"] == beat["timeline"] and seen["beat_at"] >= beat["beat_at"]:
            return round(elapsed_s * 1000, 1)
        if elapsed_s > REPLAY_GRACE_S:
            behind: timedelta = beat["beat_at"] - seen["beat_at"]
            return round(max(elapsed_s, behind.total_seconds()) * 1000, 1)
        await asyncio.sleep(pause_s)
        pause_s *= 2
