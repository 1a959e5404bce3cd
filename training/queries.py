"""The statements that only training runs, by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType

from storage.named_queries import parse_queries

QUERIES: Mapping[str, str] = MappingProxyType(
    parse_queries(resources.files("training").joinpath("queries.sql").read_text(encoding="utf-8"))
)
