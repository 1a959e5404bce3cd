"""What stands before every route: a request id, a bound on the body, a bound on the work in flight."""

from __future__ import annotations

import logging
import re
import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.http.problems import Problem

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
UNGUARDED = ("/health",)

log = logging.getLogger(__name__)


class Guard:
    """
    ASGI middleware. Problems raised here and below become problem documents; anything else a 500 that is logged.

    Args:
        app: What it guards.
        max_body_bytes: Larger bodies are refused with 413, before they are read when their length is announced.
        max_in_flight: Beyond these the answer is 429; health checks are always answered.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, max_in_flight: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._max_in_flight = max_in_flight
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        self._in_flight += 1
        try:
            self._admit(scope)
            await self._app(scope, _Bounded(receive, self._max_body_bytes), sending)
        except Problem as problem:
            if started:
                raise
            await problem.response(request_id)(scope, receive, send)
        except Exception:
            log.exception("request %s to %s failed", request_id, scope["path"])
            if started:
                raise
            detail = f"Something went wrong here. Report it with the request id {request_id}."
            await Problem(500, "internal", detail).response(request_id)(scope, receive, send)
        finally:
            self._in_flight -= 1

    def _admit(self, scope: Scope) -> None:
        if self._in_flight > self._max_in_flight and not scope["path"].startswith(UNGUARDED):
            raise Problem(429, "overloaded", "Too many requests at once. Retry after 1 s.", retry_after_s=1)
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_body_bytes:
            raise _too_large(self._max_body_bytes)


class _Bounded:
    """Receives a body up to a bound."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._seen = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        if self._seen > self._max_bytes:
            raise _too_large(self._max_bytes)
        return message


def _too_large(max_bytes: int) -> Problem:
    detail = f"The body is larger than {max_bytes} bytes. Send it in smaller batches."
    wrong = {"field": "body", "message": f"must be at most {max_bytes} bytes"}
    return Problem(413, "body_too_large", detail, errors=[wrong])


def _request_id(scope: Scope) -> str:
    """The client's own X-Request-Id when it is well-formed, else a fresh one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
