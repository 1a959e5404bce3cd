"""What the OpenAPI document says beyond the routes: bodies, headers, and FastAPI's errors put right."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from contracts.consistency import PATTERN
from deployments.http.batches import JSON, LINES
from deployments.http.consistency import HEADER
from deployments.http.problems import MEDIA_TYPE
from deployments.http.schemas import ProblemBody

FIRST_ERROR = 400
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": ProblemBody, "description": text}
    for status, text in (
        (400, "The body cannot be parsed."),
        (408, "The body did not arrive in time."),
        (413, "The body is too large."),
        (415, "The body is not application/json (or, of a batch, application/x-ndjson)."),
        (422, "A field is not valid."),
        (429, "Too many requests at once."),
        (503, "A part is down and nothing stands in for it."),
        (504, "The deadline passed with nothing to show."),
    )
}
READ_HEADERS: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Cache-Status": {"schema": {"type": "string"}, "description": "RFC 9211: hit, or why not."},
            "X-Degraded": {"schema": {"type": "string"}, "description": "`stage=cause` pairs; absent when healthy."},
        }
    }
}
WRITE_HEADERS: dict[str, Any] = {
    HEADER: {
        "schema": {"type": "string", "pattern": PATTERN},
        "description": "Send it with a read that must see this write; absent where the primary could not say.",
    }
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ProblemBody, "description": "No such product."}}


def as_problems(document: dict[str, Any]) -> dict[str, Any]:
    """Return *document*, changed in place: errors are problem documents, and FastAPI's own error models are gone."""
    for path in document["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if int(status) >= FIRST_ERROR and "application/json" in content:
                    content[MEDIA_TYPE] = content.pop("application/json")
    for unused in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(unused, None)
    return document


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """What the document says of an operation whose body is one *model*."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": _schema(model)}}}}


def batch_of(model: type[BaseModel], key: str) -> dict[str, Any]:
    """What the document says of an operation whose body is many of *model*: a list under *key*, or lines."""
    items = {"type": "array", "minItems": 1, "items": _schema(model)}
    schema = {"type": "object", "required": [key], "additionalProperties": False, "properties": {key: items}}
    lines = {
        "type": "string",
        "contentMediaType": JSON,
        "contentSchema": _schema(model),
        "description": f"One object a line; blank lines are passed over. Also taken as {' and '.join(LINES[1:])}.",
    }
    content = {JSON: {"schema": schema}, LINES[0]: {"schema": lines}}
    return {"requestBody": {"required": True, "content": content}}


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    assert "$defs" not in schema, f"{model.__name__} must be flat to stand in the document on its own"
    return schema
