"""The cursor of the next page: where it starts, for which request, over which versions."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

import orjson

from contracts.requests import ReadRequest
from contracts.versions import Versions
from deployments.http.problems import Problem, invalid

# What may differ between two pages of one request.
NOT_PART_OF_THE_ORDER = {"cursor", "limit", "explain", "degradation", "timeout_ms", "consistency_token"}


@dataclass(frozen=True, slots=True)
class Cursor:
    """
    Where a page starts.

    Attributes:
        offset: Hits before the page.
        request: Fingerprint of the request it belongs to; empty for a first page.
        versions: Fingerprint of the versions its order was made with; empty for a first page.
    """

    offset: int = 0
    request: str = ""
    versions: str = ""

    @classmethod
    def of(cls, request: ReadRequest) -> Cursor:
        """
        The cursor that *request* carries, or that of the first page.

        Raises:
            Problem: 422, it is not a cursor of ours or belongs to another request.
        """
        if request.cursor is None:
            return cls()
        try:
            offset, fingerprint, versions = orjson.loads(base64.urlsafe_b64decode(request.cursor.encode()))
            cursor = cls(int(offset), str(fingerprint), str(versions))
        except (ValueError, TypeError, binascii.Error) as error:
            raise invalid([{"field": "cursor", "message": "is not a cursor of this service"}]) from error
        if cursor.request != _fingerprint(request) or cursor.offset < 0:
            raise invalid([{"field": "cursor", "message": "belongs to another request; repeat the first one's fields"}])
        return cursor

    def check(self, versions: Versions) -> None:
        """
        Return if this page continues the order that *versions* make.

        Raises:
            Problem: 410, the catalogue or a model changed since the first page.
        """
        if self.versions and self.versions != _of_versions(versions):
            raise Problem(410, "cursor_expired", "The catalogue or a model changed since. Start from the first page.")


def next_cursor(request: ReadRequest, versions: Versions, *, offset: int) -> str:
    """The cursor of the page that starts at *offset*."""
    return base64.urlsafe_b64encode(orjson.dumps([offset, _fingerprint(request), _of_versions(versions)])).decode()


def _fingerprint(request: ReadRequest) -> str:
    text = request.model_dump_json(exclude=NOT_PART_OF_THE_ORDER)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _of_versions(versions: Versions) -> str:
    return hashlib.sha256(orjson.dumps(versions)).hexdigest()[:16]
