"""Whether one HTTP answer keeps what docs/api.md promises, as a client sees it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bench.chaos.record import Pair
from contracts.stages import HEALTHY_CAUSES
from deployments.http.problems import MEDIA_TYPE, RETRYABLE
from deployments.http.schemas import EventsWritten, ProblemBody, ReadBody

OK = 200
ACCEPTED = 202
JSON_TYPE = "application/json"

Body = TypeVar("Body", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer says of itself, and what is wrong with it."""

    degraded: bool = False
    pairs: tuple[Pair, ...] = ()
    code: str | None = None
    faults: tuple[str, ...] = ()
    accepted: int = 0


def read_verdict(status: int, headers: Mapping[str, str], body: bytes, *, sees_write: bool = False) -> Verdict:
    """The verdict on the answer to a search or to a request for recommendations; *sees_write*: with a token."""
    if status != OK:
        return problem_verdict(status, headers, body)
    answer, faults = _parsed(ReadBody, headers, body)
    if answer is None:
        return Verdict(faults=faults)
    pairs = tuple(
        (stage.name, stage.cause)
        for stage in answer.stages
        if stage.cause is not None and stage.cause not in HEALTHY_CAUSES
    )
    found = [*faults, *_read_faults(answer, pairs, headers.get("X-Degraded"))]
    consistent = answer.freshness.consistent
    if (consistent is not None) != sees_write or (consistent is False and not pairs):
        found.append(f"consistent {consistent} {'with' if sees_write else 'without'} a token, {pairs}")
    return Verdict(degraded=answer.degraded, pairs=pairs, faults=tuple(found))


def events_verdict(status: int, headers: Mapping[str, str], body: bytes, *, sent: int) -> Verdict:
    """The verdict on the answer to *sent* events."""
    if status != ACCEPTED:
        return problem_verdict(status, headers, body)
    answer, faults = _parsed(EventsWritten, headers, body)
    if answer is None:
        return Verdict(faults=faults)
    found = [*faults]
    if answer.accepted + answer.duplicates != sent or answer.rejected or answer.errors:
        found.append(f"{sent} sent: {answer.accepted} accepted, {answer.duplicates} duplicates, {answer.errors}")
    return Verdict(faults=tuple(found), accepted=answer.accepted)


def problem_verdict(status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    """The verdict on an answer that is an error."""
    content_type = headers.get("Content-Type", "").partition(";")[0]
    if content_type != MEDIA_TYPE:
        return Verdict(code="proxy", faults=(f"{status} is {content_type or 'without a type'}, no problem document",))
    try:
        problem = ProblemBody.model_validate_json(body)
    except ValidationError as error:
        return Verdict(faults=(f"{status}: {_first(error)}",))
    faults = []
    if problem.status != status:
        faults.append(f"status {status}, the body says {problem.status}")
    if problem.retryable != (status in RETRYABLE):
        faults.append(f"{status} retryable: {problem.retryable}")
    if status in {429, 503} and not headers.get("Retry-After", "").isdigit():
        faults.append(f"{status} without Retry-After")
    if not problem.request_id or not problem.code or not problem.detail:
        faults.append(f"{status} without request_id, code or detail")
    if status == 500:  # noqa: PLR2004 - the one that must never be
        faults.append(f"500: {problem.detail}")
    return Verdict(code=problem.code, faults=tuple(faults))


def _parsed(shape: type[Body], headers: Mapping[str, str], body: bytes) -> tuple[Body | None, tuple[str, ...]]:
    content_type = headers.get("Content-Type", "").partition(";")[0]
    wrong = () if content_type == JSON_TYPE else (f"content type {content_type!r}",)
    try:
        return shape.model_validate_json(body), wrong
    except ValidationError as error:
        return None, (*wrong, _first(error))


def _read_faults(answer: ReadBody, pairs: Sequence[Pair], header: str | None) -> list[str]:
    faults = []
    order = [(-hit.score, hit.id) for hit in answer.hits]
    if order != sorted(order):
        faults.append("hits are not in the total order: score, then id")
    if len({hit.id for hit in answer.hits}) != len(answer.hits):
        faults.append("a product twice")
    ranks = [hit.rank for hit in answer.hits]
    if ranks != sorted(set(ranks)) or (ranks and ranks[0] < 1):
        faults.append(f"ranks {ranks}")
    if answer.total.value < len(answer.hits):
        faults.append(f"{len(answer.hits)} hits of {answer.total.value}")
    names = [stage.name for stage in answer.stages]
    if len(set(names)) != len(names):
        faults.append(f"a stage twice: {names}")
    if answer.degraded != bool(pairs):
        faults.append(f"degraded {answer.degraded} with {pairs}")
    said = [tuple(each.split("=", 1)) for each in re.split(r"[,;\s]+", header or "") if each]
    if sorted(said) != sorted(pairs):
        faults.append(f"X-Degraded {header!r} with {pairs}")
    faults += [
        f"stage {stage.name} {stage.status} falls back on {stage.fallback}"
        for stage in answer.stages
        if (stage.status == "fallback") != (stage.fallback is not None)
        or (stage.status != "ok" and stage.cause is None)
    ]
    return faults


def _first(error: ValidationError) -> str:
    problem: Any = error.errors()[0]
    return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
