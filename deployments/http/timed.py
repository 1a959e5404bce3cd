"""Takes the time of every answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Told = Callable[[str, int, float], None]
"""Takes an answer's path, its HTTP status, and the seconds it took."""

NO_ANSWER = 499
"""The status under which a request counts whose client left before it was answered."""


class Timed:
    """
    ASGI middleware, the outermost: what it does not see does not happen.

    Args:
        app: What answers.
        told: Called once an answer is sent.
    """

    def __init__(self, app: ASGIApp, *, told: Told) -> None:
        self._app = app
        self._told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and note what became of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = NO_ANSWER

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            self._told(scope["path"], status, time.perf_counter() - started)
