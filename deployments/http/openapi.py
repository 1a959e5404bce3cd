"""What FastAPI's document says of errors, put right."""

from __future__ import annotations

from typing import Any

from deployments.http.problems import MEDIA_TYPE

FIRST_ERROR = 400


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
