"""
Errors as RFC 9457 problem documents.

::

    Problem
    ├── 400 malformed            fix the request: it cannot be parsed
    ├── 401 / 403                give a key, or another one
    ├── 404 not_found            no such product or path
    ├── 405 method_not_allowed
    ├── 408 body_timeout         send the body faster, or less at once
    ├── 409 conflict
    ├── 410 cursor_expired       start again from the first page
    ├── 413 body_too_large       send less at once
    ├── 415 unsupported_media_type
    ├── 422 invalid              fix the fields named in errors[]
    ├── 429 overloaded           retry after Retry-After
    ├── 503 unavailable, degraded   retry after Retry-After
    └── 504 deadline             retry, or give more timeout_ms
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

RETRYABLE = frozenset({408, 429, 503, 504})
MEDIA_TYPE = "application/problem+json"

# Pydantic's wording, where a client needs plainer words.
PLAIN = {"extra_forbidden": "is not a field of this request", "missing": "is required"}


class Problem(Exception):
    """
    An answer that is an error.

    Attributes:
        status: HTTP status.
        code: Short, stable, for programs.
        detail: One sentence for people: what is wrong and what to do.
        errors: One entry a wrong field: ``{"field": ..., "message": ...}``, with the item's ``index`` or ``line`` in a
            batch.
        retry_after_s: Seconds after which a retry makes sense.
        extra: Further members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, Any]] = (),
        retry_after_s: int | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.retry_after_s = retry_after_s
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def response(self, request_id: str) -> Response:
        """The problem as an HTTP response for *request_id*."""
        body = {
            "type": "about:blank",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "request_id": request_id,
            "retryable": self.status in RETRYABLE,
            "errors": self.errors,
            **self.extra,
        }
        headers = dict(self.headers)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return Response(orjson.dumps(body), status_code=self.status, media_type=MEDIA_TYPE, headers=headers)


def invalid(errors: Sequence[Mapping[str, Any]], *, code: str = "invalid") -> Problem:
    """The problem of fields that do not validate; the first one is in the detail."""
    first = errors[0]
    more = f" ({len(errors) - 1} more in errors)" if len(errors) > 1 else ""
    place = ", ".join(filter(None, [f"line {first['line']}" if "line" in first else "", first["field"]]))
    return Problem(422, code, f"{place}: {first['message']}{more}", errors=errors)


def not_found(product_id: str) -> Problem:
    """The problem of a product that does not exist."""
    return Problem(404, "not_found", f"There is no product {product_id!r}.")


def unavailable(what: str, *, cause: str, retry_after_s: int = 1) -> Problem:
    """The problem of a part that is down and has no fallback."""
    detail = f"{what} cannot answer just now ({cause}). Retry after {retry_after_s} s."
    return Problem(503, "unavailable", detail, retry_after_s=retry_after_s, extra={"cause": cause})


def unacknowledged(cause: str, *, undone: bool, retry_in_s: float = 0.0) -> Problem:
    """The problem of a write that was not acknowledged: *undone*, it is certain that nothing was written."""
    retry_after_s = max(1, math.ceil(retry_in_s))
    if undone:
        outcome, detail = "not_written", f"Nothing was written ({cause}). Send it again after {retry_after_s} s."
    else:
        outcome = "unknown"
        detail = (
            f"The write was not acknowledged ({cause}); it may or may not have been made. Send it again after "
            f"{retry_after_s} s: products, deletions, and events with an id count once."
        )
    return Problem(503, "unavailable", detail, retry_after_s=retry_after_s, extra={"cause": cause, "outcome": outcome})


def overloaded(reason: str, retry_after_s: int) -> Problem:
    """The problem of a request beyond one of the bounds on what is worked on at once."""
    what = {
        "reads": "Too many reads at once.",
        "writes": "Too many writes at once.",
        "pages": "Too many pages at once.",
        "bodies": "Too many bodies are being received at once.",
        "body_bytes": "Too many bytes of bodies at once.",
    }[reason]
    return Problem(429, "overloaded", f"{what} Retry after {retry_after_s} s.", retry_after_s=retry_after_s)


def deadline_missed(timeout_ms: int) -> Problem:
    """The problem of a request whose time ran out with nothing to show."""
    return Problem(504, "deadline", f"No answer within {timeout_ms} ms. Retry, or give more time with timeout_ms.")


def field_errors(errors: Sequence[Any], *, located: bool = False) -> list[dict[str, Any]]:
    """
    Pydantic's errors as ``{"field", "message"}``: the field's path, the message in plain words.

    Args:
        errors: As pydantic gives them.
        located: Whether each path begins with where FastAPI found the field: the query string, the path, the body.
    """
    return [
        {
            "field": _path(error["loc"][1 if located else 0 :]) or "body",
            "message": PLAIN.get(error["type"], str(error["msg"]).removeprefix("Value error, ")),
        }
        for error in errors
    ]


def _path(parts: Sequence[int | str]) -> str:
    """Where a field is, as one would write it: ``products[0].title``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
