"""Which column of a file holds which field, and how its values are read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Literal

from catalogue.errors import ImportRefused

Kind = Literal["products", "events"]
Convert = Callable[[object], object]
Target = tuple[bool, str, Convert]
"""Whether it is an attribute, its name, how its value is read."""

FIELDS: Mapping[Kind, tuple[str, ...]] = {
    "products": (
        "id",
        "title",
        "description",
        "category",
        "brand",
        "price",
        "currency",
        "in_stock",
        "hidden",
        "image_url",
        "created_at",
        "attributes",
    ),
    "events": ("id", "user_id", "product_id", "type", "value", "timestamp", "request_id"),
}
_IDS = frozenset({"id", "user_id", "product_id", "request_id"})
_BOOLEANS = frozenset({"in_stock", "hidden"})
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_ATTRIBUTE = "attributes."


REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    "products": ("id", "title"),
    "events": ("user_id", "product_id", "type", "timestamp"),
}


class Columns:
    """
    Turns the rows of a file into the fields of products or events.

    A column that is mapped fills the fields it is mapped to; one that bears the name of a field fills it, unless
    another column was mapped to that field; one named ``attributes.x``, or any other column of a file of products,
    becomes an attribute; other columns of events are passed over.

    Args:
        kind: What the rows are.
        mapping: Column by field. ``attributes.x`` counts as a field of products; ``=text`` instead of a column gives
            every row that text.
        only_strings: The format knows nothing but strings (CSV), so numbers, booleans and lists are read from them.

    Raises:
        ImportRefused: *mapping* names a field that does not exist.
    """

    def __init__(self, kind: Kind, mapping: Mapping[str, str] | None = None, *, only_strings: bool) -> None:
        self._kind = kind
        self._only_strings = only_strings
        self._mapping = dict(mapping or {})
        for field in self._mapping:
            if field not in FIELDS[kind] and not (kind == "products" and field.startswith(_ATTRIBUTE)):
                raise ImportRefused(f"the mapping names {field!r}: fields of {kind} are {', '.join(FIELDS[kind])}")
        self._constants = [
            (
                field.startswith(_ATTRIBUTE),
                field.removeprefix(_ATTRIBUTE),
                _conversion(field, only_strings=True)(text[1:]),
            )
            for field, text in self._mapping.items()
            if text.startswith("=")
        ]
        self._targets: dict[str, list[Target]] = {}

    def missing_from(self, columns: Iterable[str]) -> list[str]:
        """Return the mapped columns that *columns* lack."""
        present = set(columns)
        return sorted({c for c in self._mapping.values() if not c.startswith("=") and c not in present})

    def required_without(self, columns: Iterable[str]) -> list[str]:
        """Return the fields that every line must have and that none of *columns* fills."""
        filled = {field for column in columns for field in self._fields_of(column)}
        filled |= {name for _, name, _ in self._constants}
        return [field for field in REQUIRED[self._kind] if field not in filled]

    def fields(self, row: Mapping[str, object]) -> dict[str, object]:
        """Return the fields of *row*: absent where the row has nothing, still to be validated."""
        fields: dict[str, object] = {}
        attributes: dict[str, object] = {}
        for is_attribute, name, value in self._constants:
            (attributes if is_attribute else fields)[name] = value
        for column, value in row.items():
            targets = self._targets.get(column)
            if targets is None:
                targets = self._targets[column] = [self._target(field) for field in self._fields_of(column)]
            for is_attribute, name, convert in targets:
                converted = convert(value)
                if converted is not None:
                    (attributes if is_attribute else fields)[name] = converted
        if attributes:
            given = fields.get("attributes", {})
            fields["attributes"] = {**given, **attributes} if isinstance(given, dict) else given
        return fields

    def _fields_of(self, column: str) -> list[str]:
        mapped = [field for field, source in self._mapping.items() if source == column]
        if mapped:
            return mapped
        field = column
        if column not in FIELDS[self._kind]:
            if self._kind == "events":
                return []
            field = column if column.startswith(_ATTRIBUTE) else _ATTRIBUTE + column
        return [] if field in self._mapping else [field]

    def _target(self, field: str) -> Target:
        convert = _conversion(field, only_strings=self._only_strings)
        return field.startswith(_ATTRIBUTE), field.removeprefix(_ATTRIBUTE), convert


def _conversion(field: str, *, only_strings: bool) -> Convert:
    by_field: dict[str, Convert] = {"timestamp": _event_time, "created_at": _time}
    if field in by_field:
        return by_field[field]
    if only_strings:
        return _string_conversion(field)
    if field in _IDS:
        return _typed_id
    if field == "price":
        return _typed_price
    return _typed_attribute if field.startswith(_ATTRIBUTE) else _typed_value


def _string_conversion(field: str) -> Convert:
    if field == "price":
        return lambda value: _typed_price(_number_of_string(value))
    if field == "value":
        return _number_of_string
    if field in _BOOLEANS:
        return _boolean_of_string
    if field == "attributes" or field.startswith(_ATTRIBUTE):
        return _json_of_string
    return _text_of_string


def _text_of_string(value: object) -> object:
    return None if not isinstance(value, str) or not value.strip() else value.strip()


def _number_of_string(value: object) -> object:
    text = _text_of_string(value)
    try:
        return float(str(text)) if text is not None and "_" not in str(text) else text
    except ValueError:
        return text


def _boolean_of_string(value: object) -> object:
    text = _text_of_string(value)
    return _WORDS.get(str(text).lower(), text) if text is not None else None


def _json_of_string(value: object) -> object:
    """Lists and objects are read as JSON; other text stays text, so that "007" keeps its zeros."""
    text = _text_of_string(value)
    if isinstance(text, str) and text[0] in "[{":
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _typed_value(value: object) -> object:
    """Blank text and NaN say that there is nothing."""
    if (isinstance(value, str) and not value.strip()) or (isinstance(value, float) and math.isnan(value)):
        return None
    return float(value) if isinstance(value, Decimal) else value


def _typed_price(value: object) -> object:
    value = _typed_value(value)
    return round(value, 4) if isinstance(value, float) else value


def _typed_id(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return _typed_value(value)


def _typed_attribute(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [entry if isinstance(entry, str) else str(entry) for entry in value if entry is not None]
    return _typed_value(value)


def _time(value: object) -> object:
    """A time without a zone is UTC; a date alone is its midnight."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            return text or None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    return _typed_value(value)


def _event_time(value: object) -> object:
    """As `_time`; a number is seconds since 1970."""
    number = _number_of_string(value) if isinstance(value, str) else value
    if isinstance(number, int | float) and not isinstance(number, bool):
        try:
            return datetime.fromtimestamp(number, UTC)
        except (ValueError, OverflowError, OSError):
            return None if math.isnan(number) else str(value)
    return _time(value)
