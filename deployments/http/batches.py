"""Batches: strict JSON in, good items and per-item errors out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from deployments.http.problems import Problem, field_errors, invalid

Item = TypeVar("Item", bound=BaseModel)
MAX_ITEMS = 10_000
MAX_ERRORS = 1_000


@dataclass(frozen=True, slots=True)
class Batch(Generic[Item]):
    """
    What a batch held.

    Attributes:
        items: The valid items, in order.
        rejected: How many items are not valid.
        errors: ``{"index", "field", "message"}`` of the first thousand wrong fields.
    """

    items: list[Item]
    rejected: int
    errors: list[dict[str, Any]]


async def json_body(request: Request) -> Any:  # noqa: ANN401 - any JSON
    """
    Return the request's body as JSON.

    Raises:
        Problem: 400, it is not JSON in UTF-8 (NaN and Infinity are not JSON); 415, it says it is something else.
    """
    content_type = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if content_type != "application/json":
        # Pages elsewhere may send bodies of other types, or of none, to us without being asked.
        what = content_type or "of no stated type"
        raise Problem(
            415, "unsupported_media_type", f"The body is {what}. Send it with Content-Type: application/json."
        )
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem(400, "malformed", f"The body is not JSON ({where}): {error.msg}.") from error


def validated(model: type[Item], value: object) -> Item:
    """
    Return *value* as a *model*.

    Raises:
        Problem: 422, naming each wrong field.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(field_errors(error.errors(include_url=False))) from error


def batch(model: type[Item], value: object, *, key: str) -> Batch[Item]:
    """
    Return the items of *value*, which is ``{key: [...]}`` or the bare list.

    Raises:
        Problem: 422, it is neither, it is empty or too long, or no item is valid.
    """
    if isinstance(value, dict):
        unknown = sorted(set(value) - {key})
        if unknown:
            raise invalid([{"field": name, "message": "is not a field of this request"} for name in unknown])
        value = value.get(key)
    if not isinstance(value, list):
        raise invalid([{"field": key, "message": "must be a list"}])
    if not 0 < len(value) <= MAX_ITEMS:
        raise invalid([{"field": key, "message": f"must hold 1 to {MAX_ITEMS} items, not {len(value)}"}])
    items: list[Item] = []
    errors: list[dict[str, Any]] = []
    rejected = 0
    for index, entry in enumerate(value):
        try:
            items.append(model.model_validate(entry))
        except ValidationError as error:
            rejected += 1
            if len(errors) < MAX_ERRORS:
                wrong = field_errors(error.errors(include_url=False, include_input=False)[:MAX_ERRORS])
                errors += [{"index": index, **one} for one in wrong]
    if not items:
        raise invalid(
            [{**wrong, "field": f"{key}[{wrong['index']}].{wrong['field']}"} for wrong in errors[:MAX_ERRORS]]
        )
    return Batch(items=items, rejected=rejected, errors=errors[:MAX_ERRORS])
