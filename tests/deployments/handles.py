"""Deployments in this process, behind the interface of Serve's handles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from deployments.hop import Hop
from storage.circuit_breaker import CircuitBreaker

Raise = Callable[[], BaseException]


class Handle:
    """A deployment in this process, behind the interface of a Serve handle."""

    app_name = "shortlist"

    def __init__(self, name: str, **methods: Any) -> None:  # noqa: ANN401 - any method
        self.deployment_name = name
        for method, function in methods.items():
            setattr(self, method, SimpleNamespace(remote=lambda *args, f=function: Response(f(*args))))


class Response:
    """An awaitable call that can be cancelled."""

    def __init__(self, work: Any) -> None:  # noqa: ANN401 - any coroutine
        self._work = asyncio.ensure_future(work)

    def __await__(self) -> Any:  # noqa: ANN401 - its result
        return self._work.__await__()

    def cancel(self) -> None:
        self._work.cancel()


def failing(error: Raise) -> Callable[..., Any]:
    async def fail(*_: object) -> None:
        raise error()

    return fail


async def hanging(*_: object) -> None:
    await asyncio.Event().wait()


def hop(handle: Handle) -> Hop:
    return Hop(handle, CircuitBreaker(handle.deployment_name))  # type: ignore[arg-type]  # it behaves as Serve's does
