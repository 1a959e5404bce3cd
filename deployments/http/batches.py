"""Batches: strict JSON or one object a line in, good items and per-item errors out."""

from __future__ import annotations

import asyncio
import codecs
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from deployments.http.problems import Problem, field_errors, invalid

Item = TypeVar("Item", bound=BaseModel)
Place = Literal["index", "line"]
JSON = "application/json"
LINES = ("application/x-ndjson", "application/ndjson", "application/jsonl")
MAX_ITEMS = 10_000
MAX_ERRORS = 1_000


@dataclass(slots=True)
class Batch(Generic[Item]):
    """
    What a batch held.

    Attributes:
        place: What names an item: its ``index`` in a list, from 0, or its ``line`` in a body of lines, from 1.
        items: The valid items, in order.
        rejected: How many items are not valid.
        errors: ``{"index" or "line", "field", "message"}`` of the first thousand wrong fields; an item that is no
            object at all has the field ``""``.
    """

    place: Place
    items: list[Item] = field(default_factory=list)
    rejected: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def take(self, model: type[Item], number: int, value: object) -> None:
        """Add *value*, the item at *number*, to the items or to the errors."""
        if not isinstance(value, dict):
            self.reject(number, [{"field": "", "message": "must be a JSON object"}])
            return
        try:
            self.items.append(model.model_validate(value))
        except ValidationError as error:
            self.reject(number, field_errors(error.errors(include_url=False, include_input=False)[:MAX_ERRORS]))

    def reject(self, number: int, wrong: list[dict[str, Any]]) -> None:
        """Count the item at *number* as not valid."""
        self.rejected += 1
        self.errors += [{self.place: number, **one} for one in wrong[: MAX_ERRORS - len(self.errors)]]


async def batch_body(model: type[Item], request: Request, *, key: str) -> Batch[Item]:
    """
    Return the items of the request's body: JSON, ``{key: [...]}`` or the bare list, or one JSON object a line.

    Raises:
        Problem: 400, a JSON body cannot be parsed (a line that cannot is that line's error); 415, it says it is
            something else; 422, it is neither, it is empty or too long, or no item is valid.
    """
    if _media_type(request) in LINES:
        return await asyncio.to_thread(batch_of_lines, model, await request.body())
    return await asyncio.to_thread(batch, model, await json_body(request, accepted=(JSON, LINES[0])), key=key)


async def json_body(request: Request, *, accepted: tuple[str, ...] = (JSON,)) -> Any:  # noqa: ANN401 - any JSON
    """
    Return the request's body as JSON; of an object that names a key twice, the last value counts.

    Raises:
        Problem: 400, it is not JSON in UTF-8 (NaN and Infinity are not JSON); 415, it says it is something else, with
            what is *accepted*.
    """
    media_type = _media_type(request)
    if media_type != JSON:
        # Pages elsewhere may send bodies of other types, or of none, to us without being asked.
        what = media_type or "of no stated type"
        advice = f"Send it with Content-Type: {' or '.join(accepted)}."
        raise Problem(415, "unsupported_media_type", f"The body is {what}. {advice}")
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        wrong = {"line": error.lineno, "field": "", "message": f"is not JSON (column {error.colno}): {error.msg}"}
        detail = f"The body is not JSON ({where}): {error.msg}."
        raise Problem(400, "malformed", detail, errors=[wrong]) from error


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
    found: Batch[Item] = Batch("index")
    for index, entry in enumerate(value):
        found.take(model, index, entry)
    if not found.items:
        raise invalid([{**wrong, "field": _in_list(key, wrong)} for wrong in found.errors])
    return found


def batch_of_lines(model: type[Item], body: bytes) -> Batch[Item]:
    """
    Return the items of *body*: one JSON object a line, in UTF-8; blank lines are passed over, though counted.

    Lines end with a newline, before which a carriage return is let pass; the last may end with the body. A byte order
    mark before the first is let pass too.

    Raises:
        Problem: 422, there is no line, there are too many, or no item is valid.
    """
    found: Batch[Item] = Batch("line")
    for taken, (number, line) in enumerate(_lines(body), start=1):
        if taken > MAX_ITEMS:
            raise invalid([{"line": number, "field": "", "message": f"is one too many: send at most {MAX_ITEMS}"}])
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            found.reject(number, _wrong_number(model, line) or [{"field": "", "message": _not_json(line, error)}])
        else:
            found.take(model, number, value)
    if not found.rejected and not found.items:
        raise invalid([{"field": "body", "message": "must hold at least one line"}])
    if not found.items:
        raise invalid(found.errors)
    return found


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Each line that is not blank, with its number."""
    for number, line in enumerate(io.BytesIO(body.removeprefix(codecs.BOM_UTF8)), start=1):
        if not line.isspace():
            yield number, line.rstrip(b"\r\n")


def _wrong_number(model: type[BaseModel], line: bytes) -> list[dict[str, Any]]:
    """The fields of *line* that hold NaN or a number beyond bounds; empty if something else is wrong with it."""
    try:
        model.model_validate(json.loads(line))
    except ValidationError as error:
        return field_errors(error.errors(include_url=False, include_input=False)[:MAX_ERRORS])
    except (ValueError, RecursionError):
        pass
    return []


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        line.decode()
    except UnicodeDecodeError as undecodable:
        return f"is not UTF-8 (byte {undecodable.start + 1})"
    return f"is not JSON (column {error.colno}): {error.msg}"


def _in_list(key: str, wrong: dict[str, Any]) -> str:
    return f"{key}[{wrong['index']}].{wrong['field']}".removesuffix(".")


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()
