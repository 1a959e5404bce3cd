"""The answer to what is too much: 429, made as cheaply as can be, for under overload it is made most often."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import ClassVar, get_args

import orjson
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.admission import Admission, Lane, Overloaded, Reason
from deployments.http.problems import MEDIA_TYPE, overloaded
from deployments.http.timed import Told

REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
UNGUARDED = ("/health",)
API = "/v1/"
SEARCHES = ("/v1/search", "/v1/recommendations")
READS_BY_POST = frozenset(SEARCHES)
RETRIES_S = 3
"""A client that is refused comes back after 1 to so many seconds: not all at the same moment."""


def lane_of(scope: Scope) -> Lane | None:
    """Return which bound a request counts against; None: none."""
    path: str = scope["path"]
    if path.startswith(UNGUARDED):
        return None
    if not path.startswith(API):
        return "pages"
    return "reads" if scope["method"] in ("GET", "HEAD") or path in READS_BY_POST else "writes"


def request_id_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the client's own X-Request-Id when it is well-formed, else a fresh one."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(16)


class Refusals:
    """Answers 429."""

    def __init__(self) -> None:
        self._given = 0

    async def answer(self, refusal: Overloaded, request_id: str, send: Send, *, name_it: bool = False) -> None:
        """
        Send the answer to a request that is refused.

        Args:
            refusal: Why.
            request_id: The request's.
            send: Where to.
            name_it: Whether to say ``X-Request-ID`` here: Serve does so for what has passed it.
        """
        self._given += 1
        retry_after_s = 1 + self._given % RETRIES_S
        before, after = _DOCUMENTS[refusal.reason, retry_after_s]
        body = before + orjson.dumps(request_id) + after
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"retry-after", b"%d" % retry_after_s),
        ]
        if name_it:
            headers.append((b"x-request-id", request_id.encode()))
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Doorman:
    """
    ASGI middleware before Serve's own in the gateway's process: refuses what the guard behind it would refuse.

    A request that is refused here costs a third: Serve, FastAPI and the access log never see it. Without it all is the
    same but for that, so Serve need not be told of it (`RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH`). Until `serve` was
    called, and in a process that is no gateway, it lets everything pass.

    Args:
        app: Serve.
    """

    _served: ClassVar[tuple[Admission, Told] | None] = None
    _refusals: ClassVar[Refusals] = Refusals()

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    @classmethod
    def serve(cls, admission: Admission, *, told: Told) -> None:
        """Refuse from now on in this process what *admission* does, and tell *told* of it."""
        cls._served = admission, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        lane = lane_of(scope) if scope["type"] == "http" else None
        if self._served is None or lane is None:
            await self._app(scope, receive, send)
            return
        admission, told = self._served
        started = time.perf_counter()
        try:
            admission.check(lane)
        except Overloaded as refusal:
            await self._refusals.answer(refusal, request_id_of(dict(scope["headers"])), send, name_it=True)
            told(scope["path"], 429, time.perf_counter() - started)
        else:
            await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return what Serve is to put before itself."""
    return [Middleware(Doorman)]


def _documents() -> dict[tuple[Reason, int], tuple[bytes, bytes]]:
    """Each refusal's document, cut where the request id stands."""
    found: dict[tuple[Reason, int], tuple[bytes, bytes]] = {}
    for reason in get_args(Reason):
        for retry_after_s in range(1, RETRIES_S + 1):
            body = bytes(overloaded(reason, retry_after_s).response("\0").body)
            before, _, after = body.partition(orjson.dumps("\0"))
            found[reason, retry_after_s] = before, after
    return found


_DOCUMENTS = _documents()
