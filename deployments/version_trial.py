"""What a replica does for the trial of a version: a canary's users get it, a shadow's requests are compared."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from artifacts.trial_figures import TrialFigures
from artifacts.trial_watch import OnTrial, TrialArtifact
from contracts.arms import in_share
from contracts.background import end
from contracts.candidates import Retrieval, RetrieverName
from contracts.deadline import Deadline, time_limit
from contracts.requests import ReadRequest
from contracts.stages import Stage
from deployments.error_window import ErrorWindow
from deployments.shadow_queue import ShadowQueue
from deployments.trial_arms import Arm

POLL_S = 0.25
CANARY_SHARE = 0.6
"""Of a request's time, what the version on trial may take: the rest is for the active one, should it fail."""
GRACE_S = 0.02
"""It ends in time by itself, or is made to."""

T = TypeVar("T")
A = TypeVar("A", bound=Arm)
Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Running(Generic[T, A]):
    """A trial that this replica takes part in."""

    held: OnTrial[T]
    arm: A
    figures: TrialFigures
    shadow: ShadowQueue | None
    window: ErrorWindow = field(default_factory=ErrorWindow)


class VersionTrial(Generic[T, A]):
    """
    The trial of one kind of artifact in one replica. A request never fails for it: the active version answers then.

    Args:
        watched: Which version is on trial.
        make: What answers with it.
        stage: The part of an answer that the artifact makes.
        subject: Who a request is for, and so which version answers it; None: the active one in any case.
        draw: A number in [0, 1) for each request, by which a shadow samples.

    Attributes:
        totals: What this process has seen of all trials.
    """

    def __init__(
        self,
        watched: TrialArtifact[T],
        make: Callable[[OnTrial[T]], A],
        *,
        stage: RetrieverName,
        subject: Callable[[ReadRequest], str | None],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.totals = TrialFigures()
        self._watched = watched
        self._make = make
        self._stage = stage
        self._subject = subject
        self._draw = draw
        self._running: _Running[T, A] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def kind(self) -> str:
        """The kind of artifact."""
        return self._watched.kind

    @property
    def failed(self) -> int:
        """How many trials this replica has ended because their version failed."""
        return self._watched.ended

    @property
    def alive(self) -> bool:
        """Whether neither the thread that watches nor the task that follows has died."""
        return self._watched.alive and (self._task is None or not self._task.done())

    def start(self) -> None:
        """Follow the trials of the store, in the background."""
        self._watched.reporting(self._report)
        self._watched.start()
        self._task = asyncio.create_task(self._follow(), name=f"trial-{self.kind}")

    async def stop(self) -> None:
        """End following."""
        await end(self._task)
        await self._let_go()
        await asyncio.to_thread(self._watched.stop)

    def cancel(self) -> None:
        """End following, from where nothing can be awaited."""
        if self._task is not None and not self._task.get_loop().is_closed():
            self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def status(self) -> dict[str, Any] | None:
        """The trial that this replica takes part in, or None."""
        running = self._present()
        return None if running is None else running.held.trial.model_dump(include={"id", "mode", "version", "share"})

    async def retrieve(
        self, request: ReadRequest, timeout_s: float, active: Callable[[float], Awaitable[Retrieval]]
    ) -> Retrieval:
        """
        Return what the version on trial retrieves where *request* is its canary's, else what *active* does.

        Where the canary fails or finds nothing, the active version is asked too. Where it does better it answers, and
        the canary has failed; where it does not, the fault is elsewhere.

        Args:
            active: Retrieves within so many seconds with the active version.
        """
        running = self._present()
        if running is None:
            return await active(timeout_s)
        if not self._is_canarys(running, self._subject(request)):
            started = time.perf_counter()
            retrieval = await active(timeout_s)
            self._note(running, request, retrieval, (time.perf_counter() - started) * 1000)
            return retrieval
        deadline = Deadline.in_seconds(timeout_s)
        canary, failure, ms = await self._asked(running, request, timeout_s * CANARY_SHARE)
        if canary is not None and failure is None and self._found_something(canary):
            self._count(running, canary=True, ms=ms, failed=None)
            return canary
        retrieval = await active(deadline.left_s())
        better = _failure(self._stage_of(retrieval)) is None and self._found_something(retrieval)
        if canary is not None and failure is None:
            if not better:
                self._count(running, canary=True, ms=ms, failed=None)
                return canary
            if self._stage_of(canary).degraded:
                return retrieval
        if better:
            self._count(running, canary=True, ms=ms, failed=failure or "it found nothing")
        return retrieval

    async def by_canary(self, subject: str, ask: Callable[[A], Awaitable[Result]]) -> Result | None:
        """Return what *ask* gets of the version on trial, if *subject* is its canary's; None if not, or it failed."""
        running = self._present()
        if running is None or not self._is_canarys(running, subject):
            return None
        try:
            return await ask(running.arm)
        except Exception as error:
            log.exception("the canary of %s failed", running.held.loaded.version)
            self._count(running, canary=True, ms=None, failed=repr(error))
            return None

    def _note(self, running: _Running[T, A], request: ReadRequest, retrieval: Retrieval, ms: float) -> None:
        """Take note of an answer of the active version: count it beside a canary, or have a shadow answer it too."""
        if running.shadow is None:
            self._count(running, canary=False, ms=ms, failed=_failure(self._stage_of(retrieval)))
        elif self._stage_of(retrieval).status == "ok" and self._draw() < running.held.trial.share:
            running.shadow.offer(request)

    async def _asked(
        self, running: _Running[T, A], request: ReadRequest, timeout_s: float
    ) -> tuple[Retrieval | None, str | None, float]:
        """What the canary retrieves, how it failed, and the milliseconds it took."""
        started = time.perf_counter()
        retrieval: Retrieval | None = None
        try:
            async with time_limit(timeout_s + GRACE_S):
                retrieval = await running.arm.retrieve(request, timeout_s=timeout_s)
            failure = _failure(self._stage_of(retrieval))
        except Exception as error:
            log.exception("the canary of %s failed", running.held.loaded.version)
            failure = repr(error)
        return retrieval, failure, (time.perf_counter() - started) * 1000

    def _count(self, running: _Running[T, A], *, canary: bool, ms: float | None, failed: str | None) -> None:
        """Count a request of one of the two versions; end the canary where it fails too often."""
        for figures in (running.figures, self.totals):
            (figures.trial if canary else figures.active).add(ms, failed=failed is not None)
        running.window.add(canary=canary, failed=failed is not None)
        if canary and failed is not None and (problem := running.window.problem()) is not None:
            self._watched.fail(running.held.trial, f"{problem}. The last one: {failed}")

    def _present(self) -> _Running[T, A] | None:
        """The trial, if it is in force still."""
        running = self._running
        return running if running is not None and self._watched.current is running.held else None

    def _is_canarys(self, running: _Running[T, A], subject: str | None) -> bool:
        trial = running.held.trial
        return trial.mode == "canary" and subject is not None and in_share(trial.share, trial.version, subject)

    def _stage_of(self, retrieval: Retrieval) -> Stage:
        stages = (stage for stage in retrieval.stages if stage.name == self._stage)
        return next(stages, Stage(self._stage, "skipped", cause="not_requested"))

    def _found_something(self, retrieval: Retrieval) -> bool:
        """Whether the artifact found any of the candidates, or had not to look for any."""
        placing = retrieval.candidates.placings.get(self._stage)
        found = placing is not None and bool((placing.ranks > 0).any())
        return found or self._stage_of(retrieval).cause == "not_requested"

    def _report(self) -> tuple[str, TrialFigures] | None:
        running = self._running
        return None if running is None else (running.held.trial.id, running.figures)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            held, running = self._watched.current, self._running
            try:
                if held is not (running.held if running else None):
                    await self._let_go()
                    if held is not None:
                        await self._take_up(held)
            except Exception as error:
                log.exception("the trial of %s was not taken up", self.kind)
                if held is not None:
                    self._watched.fail(held.trial, f"it cannot be taken up: {error!r}")

    async def _take_up(self, held: OnTrial[T]) -> None:
        arm = self._make(held)
        try:
            await arm.start()
        except BaseException:
            await arm.stop()
            raise
        figures = TrialFigures()
        shadow = ShadowQueue(arm, (figures, self.totals)) if held.trial.mode == "shadow" else None
        self._running = _Running(held, arm, figures, shadow)
        log.info("%s: the %s of %s has begun here", self.kind, held.trial.mode, held.loaded.version)

    async def _let_go(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            if running.shadow is not None:
                await running.shadow.stop()
            await running.arm.stop()


def _failure(stage: Stage) -> str | None:
    """How the artifact's part of an answer failed; None where it did not, or had too much to do."""
    if not stage.degraded or stage.fallback == "stale index" or stage.cause in ("overloaded", "replica_lag"):
        return None
    return stage.cause
