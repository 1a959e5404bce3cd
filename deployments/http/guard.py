"""What stands before every route: a request id, bounds on bodies and on the work in flight."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import nullcontext

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.adaptive_limit import Evidence
from deployments.admission import Admission, BodyRoom, Lane, Overloaded
from deployments.http.problems import Problem
from deployments.http.refusals import SEARCHES, Refusals, lane_of, request_id_of

DEGRADED = b"x-degraded"

log = logging.getLogger(__name__)


class Guard:
    """
    ASGI middleware. Problems raised here and below become problem documents; anything else a 500 that is logged.

    A request that does not fit is answered 429 before anything of it is read. One that does has its body received here,
    in bounded time and room, before it counts as work: a client that sends slowly holds up nobody. The time that a read
    has begins then; ``state.received_s`` holds the moment.

    Args:
        app: What it guards.
        admission: The bounds. Health checks are always answered.
    """

    def __init__(self, app: ASGIApp, *, admission: Admission) -> None:
        self._app = app
        self._admission = admission
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = request_id_of(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send)
        try:
            await self._guarded(scope, headers, receive, answer)
        except Overloaded as refusal:
            if answer.started:
                raise
            await self._refusals.answer(refusal, request_id, send)
        except Problem as problem:
            if answer.started:
                raise
            await problem.response(request_id)(scope, receive, send)
        except Exception:
            log.exception("request %s to %s failed", request_id, scope["path"])
            if answer.started:
                raise
            detail = f"Something went wrong here. Report it with the request id {request_id}."
            await Problem(500, "internal", detail).response(request_id)(scope, receive, send)

    async def _guarded(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, answer: _Answer) -> None:
        lane = lane_of(scope)
        if lane is not None:
            self._admission.check(lane)
        length = headers.get(b"content-length", b"")
        announced = int(length) if length.isdigit() else 0
        if announced > self._admission.config.max_body_bytes:
            raise _too_large(self._admission.config.max_body_bytes)
        has_body = bool(announced) or b"transfer-encoding" in headers
        with BodyRoom(self._admission, announced) if has_body else nullcontext() as room:
            given = receive if room is None else await self._received(receive, room)
            if given is not None:
                await self._in_lane(lane, scope, given, answer)

    async def _in_lane(self, lane: Lane | None, scope: Scope, receive: Receive, answer: _Answer) -> None:
        admission = self._admission
        if lane is None:
            await self._app(scope, receive, answer)
        elif lane != "reads":
            with admission.work(lane):
                await self._app(scope, receive, answer)
        else:
            scope["state"]["received_s"] = time.monotonic()
            entered = await admission.reads.enter()
            if entered is None:
                raise admission.refuse("reads")
            evidence: Evidence = "none"
            try:
                await self._app(scope, receive, answer)
                evidence = answer.evidence if scope["path"] in SEARCHES else "none"
            except Problem as problem:
                evidence = _evidence(problem.status, problem.headers.get("X-Degraded", "").encode())
                raise
            finally:
                admission.reads.leave(entered, evidence)

    async def _received(self, receive: Receive, room: BodyRoom) -> Receive | None:
        """
        Receive the whole body; return a ``receive`` that gives it, or None if the client went away.

        Raises:
            Problem: 408, it did not arrive in time; 413, it is larger than it may be.
            Overloaded: there is no room for it.
        """
        admission = self._admission
        if admission.bodies >= admission.config.most_bodies:
            raise admission.refuse("bodies")
        body = bytearray()
        admission.bodies += 1
        try:
            async with asyncio.timeout(admission.config.body_timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > admission.config.max_body_bytes:
                        raise _too_large(admission.config.max_body_bytes)
                    room.received(len(body))
                    more = message.get("more_body", False)
        except TimeoutError as error:
            raise _too_slow(admission.config.body_timeout_s) from error
        finally:
            admission.bodies -= 1
        return _Given(bytes(body), receive)


class _Answer:
    """Passes an answer on and keeps what its first line says."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.evidence: Evidence = "none"

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            degraded = next((value for name, value in message["headers"] if name.lower() == DEGRADED), b"")
            self.evidence = _evidence(message["status"], degraded)
        await self._send(message)


class _Given:
    """Gives a body, then what comes after it."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _evidence(status: int, degraded: bytes) -> Evidence:
    """What the time until an answer says of the load. That a 503 was quick says nothing: a breaker is open."""
    if b"=overloaded" in degraded:
        return "refused"
    if status == 504 or b"=timeout" in degraded:  # noqa: PLR2004
        return "waited"
    return "answered" if status == 200 else "none"  # noqa: PLR2004


def _too_large(max_bytes: int) -> Problem:
    detail = f"The body is larger than {max_bytes} bytes. Send it in smaller batches."
    wrong = {"field": "body", "message": f"must be at most {max_bytes} bytes"}
    return Problem(413, "body_too_large", detail, errors=[wrong])


def _too_slow(timeout_s: float) -> Problem:
    detail = f"The body did not arrive within {timeout_s:g} s. Send it again, in smaller batches."
    return Problem(408, "body_timeout", detail, headers={"Connection": "close"})
