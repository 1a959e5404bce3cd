"""Recommendations as a shop gets them: over HTTP, with what each answer says of how it was made."""

from __future__ import annotations

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from contracts.stages import Stage

_PAGE = 100
_ANSWER_S = 20.0
_PATIENCE_S = 60.0
_LATER = {httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE}


class NotServed(Exception):
    """The stack gave no answer; the message says what it gave instead."""


@dataclass(frozen=True)
class ServedList:
    """
    What one user is recommended.

    Args:
        product_ids: Best first, every page of it.
        cf: The feature ``cf`` of each, None where it is absent.
        version: The version of ``collaborative`` that the answer names.
        vector: Of the user: ``factors`` as trained, or ``fold_in`` with events since; None where there is none.
        degraded: What stood in for something else, a sentence each.
    """

    product_ids: list[str]
    cf: list[float | None]
    version: str | None
    vector: str | None
    degraded: tuple[str, ...] = ()


class ServedRecommendations:
    """
    A stack's recommendations.

    Args:
        url: Where it answers.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=_ANSWER_S + 10, trust_env=False)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._client.close()

    def of(self, user_id: str) -> ServedList:
        """
        Return what *user_id* is recommended.

        Raises:
            NotServed: it is refused for a minute, or answered by an error.
        """
        body = {"user_id": user_id, "limit": _PAGE, "explain": True, "timeout_ms": int(_ANSWER_S * 1000)}
        first = answer = self._ask(body)
        hits = list(answer["hits"])
        while cursor := answer["next_cursor"]:
            answer = self._ask(body | {"cursor": cursor})
            hits += answer["hits"]
        # A product that moves between two pages comes twice.
        by_id = {hit["id"]: hit["explain"]["features"].get("cf") for hit in reversed(hits)}
        ids = list(dict.fromkeys(hit["id"] for hit in hits))
        return ServedList(
            ids,
            [by_id[product_id] for product_id in ids],
            first["versions"]["cf"],
            _vector(first["stages"]),
            _degraded(first["stages"]),
        )

    def _ask(self, body: dict[str, Any]) -> dict[str, Any]:
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                response = self._client.post("/v1/recommendations", json=body)
            except httpx.HTTPError as error:
                raise NotServed(f"{self._client.base_url} does not answer: {error!r}. Is the stack up?") from error
            if response.status_code not in _LATER or time.monotonic() > until:
                break
            time.sleep(min(5.0, float(response.headers.get("Retry-After", "1"))))
        if not response.is_success:
            raise NotServed(f"POST /v1/recommendations: {response.status_code} {response.text[:300]}")
        answer: dict[str, Any] = response.json()
        return answer


def _vector(stages: list[dict[str, Any]]) -> str | None:
    source = next((str(stage["source"] or "") for stage in stages if stage["name"] == "profile"), "")
    name = source.split("+")[0]
    return name if name in ("factors", "fold_in") else None


def _degraded(stages: list[dict[str, Any]]) -> tuple[str, ...]:
    read = [Stage(**stage) for stage in stages]
    return tuple(f"{each.name}: {each.fallback or each.status} ({each.cause})" for each in read if each.may_change_hits)
