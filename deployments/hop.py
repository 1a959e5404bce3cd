"""One deployment as another calls it: an answer in time, or a cause."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from typing import Any

from grpc.aio import AioRpcError
from ray.exceptions import RayActorError
from ray.serve.exceptions import BackPressureError, DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from contracts.deadline import Deadline
from contracts.stages import Cause
from deployments.metrics import Sample
from deployments.replica_sight import CURRENT, Journey, replicas_of
from retrieval.stage_run import cause_of
from storage.circuit_breaker import CircuitBreaker, Permit
from storage.errors import CircuitOpen, DatabaseUnavailable, StorageError

log = logging.getLogger(__name__)

# Less is not worth a second try.
LEAST_RETRY_S = 0.02


class HopFailed(Exception):
    """
    A deployment did not answer.

    Attributes:
        deployment: Which one.
        cause: Why, of the closed list.
        ms: Milliseconds spent waiting.
        retry_in_s: Seconds after which asking again may help, where that is known; else 0.
        undone: Whether it is certain that the call left nothing behind.
    """

    def __init__(
        self, deployment: str, cause: Cause, ms: float, retry_in_s: float = 0.0, *, undone: bool = False
    ) -> None:
        super().__init__(deployment, cause, ms, retry_in_s)
        self.undone = undone
        self.deployment = deployment
        self.cause = cause
        self.ms = ms
        self.retry_in_s = retry_in_s

    def __str__(self) -> str:
        return f"{self.deployment}: {self.cause} after {self.ms:.0f} ms"


class NoReplica(Exception):
    """No replica of the deployment lives; Serve is starting another. Answer without it."""


class NobodyToAsk(NoReplica):
    """There was none when the call was to be made."""


class RetryTimedOut(TimeoutError):
    """A second try had only the time that the first one left: that says little of the deployment."""


class Hop:
    """
    A deployment behind a circuit breaker.

    What counts against it is a replica that dies in the middle of a call, a call that takes too long, and an error that
    is a mistake of its own. What does not: a full queue, which is load and refuses in milliseconds by itself; a store
    that fails within, which has a breaker there; no replica being left, which is seen without asking and over when one
    is back; a caller who leaves.

    Args:
        handle: The deployment.
        breaker: Its breaker in this process.

    Attributes:
        retries: Calls made a second time because the replica that had the first died.
    """

    def __init__(self, handle: DeploymentHandle[Any], breaker: CircuitBreaker) -> None:
        self._handle = handle
        self.name = handle.deployment_name
        self.breaker = breaker
        self.retries = 0
        self._replicas = replicas_of(handle.app_name, handle.deployment_name)

    async def call(self, method: str, *args: Any, timeout_s: float, again: bool = False) -> Any:  # noqa: ANN401
        """
        Return what *method* of the deployment answers.

        Args:
            method: Its name.
            *args: Its arguments.
            timeout_s: Seconds to wait, queueing and a second try included.
            again: Whether the call may be made once more, if the replica that has it dies and time is left: only where
                making it twice does no harm.

        Raises:
            HopFailed: no answer in time, no replica, a full queue, an error inside the deployment, or an open breaker.
        """
        started = time.perf_counter()
        try:
            permit = self.breaker.admit()
            self._look_for_a_replica()
            answer = await self._answered(method, args, Deadline.in_seconds(timeout_s), again=again)
        except CircuitOpen as error:
            raise HopFailed(self.name, "circuit_open", _ms(started), error.retry_in_s, undone=True) from error
        except Exception as error:
            _weigh(permit, error)
            raise self._failure(method, error, started) from error
        permit.succeeded()
        return answer

    async def status(self, *, timeout_s: float) -> dict[str, Any]:
        """
        Return what one replica says of itself, whatever the breaker's state: half open, it counts as a call would.

        Raises:
            HopFailed: none answers in time.
        """
        started = time.perf_counter()
        probe = self.breaker.begin_background_probe()
        try:
            status: dict[str, Any] = await self._answered("status", (), Deadline.in_seconds(timeout_s), again=True)
        except Exception as error:
            _weigh(probe, error)
            raise self._failure("status", error, started) from error
        probe.succeeded()
        return status

    def _look_for_a_replica(self) -> None:
        if self._replicas.are_gone:
            raise NobodyToAsk(self.name)

    async def _answered(self, method: str, args: tuple[Any, ...], deadline: Deadline, *, again: bool) -> Any:  # noqa: ANN401
        try:
            return await self._once(method, args, deadline.left_s())
        except (RayActorError, AioRpcError):
            if not again or deadline.left_s() < LEAST_RETRY_S:
                raise
        self.retries += 1
        try:
            return await self._once(method, args, deadline.left_s())
        except TimeoutError as error:
            raise RetryTimedOut(self.name) from error

    async def _once(self, method: str, args: tuple[Any, ...], timeout_s: float) -> Any:  # noqa: ANN401
        journey = Journey()
        token = CURRENT.set(journey)
        try:
            response = getattr(self._handle, method).remote(*args)
        finally:
            CURRENT.reset(token)
        self._replicas.begin(journey)
        try:
            async with asyncio.timeout(timeout_s) as limit:
                journey.limited_by(limit)
                return await response
        except TimeoutError as error:
            response.cancel()
            if journey.is_stranded:
                raise NoReplica(self.name) from error
            if timeout_s >= self.breaker.rules.least_wait_s:
                journey.doubt()
            raise
        except (RayActorError, AioRpcError):
            journey.doubt()
            raise
        finally:
            journey.limited_by(None)
            self._replicas.end(journey)

    def _failure(self, method: str, error: Exception, started: float) -> HopFailed:
        if isinstance(error, TimeoutError):
            return HopFailed(self.name, "timeout", _ms(started))
        if isinstance(error, BackPressureError):
            return HopFailed(self.name, "overloaded", _ms(started), undone=True)
        if isinstance(error, StorageError):
            retry_in_s = error.retry_in_s if isinstance(error, CircuitOpen) else 0.0
            undone = isinstance(error, DatabaseUnavailable) and error.undone
            return HopFailed(self.name, cause_of(error), _ms(started), retry_in_s, undone=undone)
        if not isinstance(error, NoReplica | DeploymentUnavailableError | RayActorError | AioRpcError):
            # Whatever the deployment raised arrives here, over gRPC as it is; to the caller it is one thing.
            log.error("%s.%s failed", self.name, method, exc_info=error)
        never_sent = isinstance(error, NobodyToAsk | DeploymentUnavailableError)
        return HopFailed(self.name, "unavailable", _ms(started), undone=never_sent)


def retry_samples(hops: Iterable[Hop]) -> Iterator[Sample]:
    """Yield how often a second try was made to each deployment."""
    for hop in hops:
        description = "Calls made again because the replica that had them died."
        yield Sample("shortlist_hop_retries_total", description, hop.retries, "total", {"to": hop.name})


def _weigh(permit: Permit, error: Exception) -> None:
    """Tell the breaker what *error* says of the deployment."""
    if isinstance(error, NoReplica | RetryTimedOut | DeploymentUnavailableError | BackPressureError | StorageError):
        permit.released()
    elif isinstance(error, TimeoutError):
        permit.timed_out()
    else:
        permit.failed()


def _ms(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
