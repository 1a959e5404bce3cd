"""
Every SQL statement of the serving side, by name.

A file in ``storage/queries`` holds one topic. Each of its queries starts with ``-- name: the_name``,
then comment lines that describe it, then one statement with ``$1`` parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from storage.errors import QueryUnknown

_NAME = re.compile(r"^-- name: ([a-z_][a-z0-9_]*)$", re.MULTILINE)


class _Queries(dict[str, str]):
    def __missing__(self, name: str) -> str:
        raise QueryUnknown(name)


def parse_queries(text: str) -> dict[str, str]:
    """
    Return the statements of one file, by name, without their comments at the top.

    Raises:
        ValueError: a name is given twice, a query has no description, or no statement.
    """
    parts = _NAME.split(text)
    queries: dict[str, str] = {}
    for name, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = body.strip().splitlines()
        statement = [line for line in lines if not line.startswith("--")]
        if not lines or not lines[0].startswith("-- "):
            raise ValueError(f"query {name} needs a description under its name")
        if not statement:
            raise ValueError(f"query {name} has no statement")
        if name in queries:
            raise ValueError(f"query {name} is defined twice")
        queries[name] = "\n".join(statement).strip()
    return queries


def _load() -> Mapping[str, str]:
    queries = _Queries()
    for file in sorted(resources.files("storage").joinpath("queries").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        found = parse_queries(file.read_text(encoding="utf-8"))
        if twice := found.keys() & queries.keys():
            raise ValueError(f"{file.name}: {', '.join(sorted(twice))} already defined in another file")
        queries.update(found)
    return MappingProxyType(queries)


QUERIES: Mapping[str, str] = _load()
"""Statement by query name; an unknown name raises QueryUnknown."""
