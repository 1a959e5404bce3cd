"""Reads that must see a write: the token in the header or in the request, one meaning."""

from __future__ import annotations

from typing import Any, TypeVar

from starlette.requests import Request

from contracts.consistency import PATTERN, ConsistencyToken
from contracts.requests import ReadRequest
from deployments.http.problems import invalid

HEADER = "X-Consistency-Token"
PARAMETER: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": PATTERN},
    "description": "What a write returned: the answer sees that write.",
}

Read = TypeVar("Read", bound=ReadRequest)


def after_write(request: Read, http: Request) -> Read:
    """
    Return *request* with the token of the header, if there is one.

    Raises:
        Problem: 422, the header is not a token, or the request itself carries another.
    """
    given = http.headers.get(HEADER)
    if given is None:
        return request
    try:
        token = str(ConsistencyToken.parse(given))
    except ValueError as error:
        raise invalid([{"field": HEADER, "message": str(error)}]) from error
    if request.consistency_token not in (None, token):
        raise invalid([{"field": HEADER, "message": "differs from consistency_token; send one of them"}])
    return request.model_copy(update={"consistency_token": token})
