"""What ids, texts, times and attributes may hold, wherever they come from."""

# Pydantic reads these annotations at run time.
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from contracts.text import MAX_ID_LENGTH, UNPRINTABLE, printable

MAX_ATTRIBUTES = 100
MAX_ATTRIBUTE_LENGTH = 2000
MAX_LIST_LENGTH = 200
MAX_ATTRIBUTES_BYTES = 65_536
MAX_NUMBER = 2**53

# U+D800 to U+DFFF alone are no characters and cannot be stored.
_CONTROL_BUT_NEWLINE_AND_TAB = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_IMAGE_URL = re.compile(r"https?://[^\s/\\]+[^\s\\]*|(?!//)[^\s\\:]+(?:/[^\s\\]*)?", re.ASCII | re.IGNORECASE)

EARLIEST_CREATION = datetime(1000, 1, 1, tzinfo=UTC)
EARLIEST_EVENT = datetime(1970, 1, 1, tzinfo=UTC)
CLOCK_SKEW = timedelta(days=1)


def _present_line(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "must contain something other than white space")
    return printable(text)


def _paragraphs(text: str) -> str:
    text = text.replace("\r\n", "\n")
    if _CONTROL_BUT_NEWLINE_AND_TAB.search(text):
        raise PydanticCustomError(
            "control_character", "must not contain control characters (newline and tab are fine) or invalid Unicode"
        )
    return text


def _currency(text: str) -> str:
    if len(text) != 3 or not (text.isascii() and text.isalpha()):  # noqa: PLR2004 - the length the message names
        raise PydanticCustomError("currency", "must be three letters, such as EUR (ISO 4217)")
    return text.upper()


def _image_url(text: str) -> str:
    if not _IMAGE_URL.fullmatch(printable(text)):
        raise PydanticCustomError("image_url", "must be an http or https URL, or a relative path")
    return text


def _price(price: float) -> float:
    if round(price, 4) != price:
        raise PydanticCustomError("price", "must have at most four decimals")
    return price


def parsed_time(value: object) -> object:
    """
    Return the RFC 3339 time that *value* spells, in UTC, or *value* itself when it is no string.

    Raises:
        PydanticCustomError: not RFC 3339 with a time zone, or no such moment.
    """
    if not isinstance(value, str):
        return value
    if not _RFC_3339.fullmatch(value):
        raise PydanticCustomError(
            "timestamp", "must be a time with a zone as in RFC 3339, such as 2026-01-31T09:30:00Z"
        )
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PydanticCustomError("timestamp", "is no moment of the calendar") from None


def _between(earliest: datetime) -> Callable[[datetime], datetime]:
    def check(moment: datetime) -> datetime:
        if moment.tzinfo is None:
            raise PydanticCustomError("timestamp", "must have a time zone")
        if moment < earliest:
            raise PydanticCustomError("too_early", "must not lie before the year {year}", {"year": earliest.year})
        if moment > datetime.now(UTC) + CLOCK_SKEW:
            raise PydanticCustomError("too_late", "must not lie more than a day in the future")
        return moment.astimezone(UTC)

    return check


def _attributes(attributes: dict[str, object]) -> dict[str, object]:
    if len(attributes) > MAX_ATTRIBUTES:
        raise PydanticCustomError("attributes", "must have at most {most} keys", {"most": MAX_ATTRIBUTES})
    for key, value in attributes.items():
        problem = _key_problem(key) or _value_problem(value)
        if problem:
            raise PydanticCustomError("attributes", "{key}: {problem}", {"key": key[:128], "problem": problem})
    if len(orjson.dumps(attributes)) > MAX_ATTRIBUTES_BYTES:
        raise PydanticCustomError("attributes", "must be at most {most} bytes as JSON", {"most": MAX_ATTRIBUTES_BYTES})
    return attributes


def _key_problem(key: str) -> str | None:
    if not key or len(key) > MAX_ID_LENGTH:
        return f"a key must have 1 to {MAX_ID_LENGTH} characters"
    return "a key must not contain control characters or invalid Unicode" if UNPRINTABLE.search(key) else None


def _value_problem(value: object) -> str | None:
    if isinstance(value, str):
        return _string_problem(value)
    if isinstance(value, bool | int | float):
        return None if abs(value) <= MAX_NUMBER else "a number must lie within 2^53"
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        return "must be a string, a number, a boolean or a list of strings"
    if len(value) > MAX_LIST_LENGTH:
        return f"a list must have at most {MAX_LIST_LENGTH} entries"
    return next((problem for entry in value if (problem := _string_problem(entry))), None)


def _string_problem(text: str) -> str | None:
    if len(text) > MAX_ATTRIBUTE_LENGTH:
        return f"a string must have at most {MAX_ATTRIBUTE_LENGTH} characters"
    if _CONTROL_BUT_NEWLINE_AND_TAB.search(text):
        return "must not contain control characters (newline and tab are fine) or invalid Unicode"
    return None


_TIME_SCHEMA = WithJsonSchema({"type": "string", "format": "date-time"})

Title = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_present_line)]
Label = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(_present_line)]
Paragraphs = Annotated[str, Field(max_length=20_000), AfterValidator(_paragraphs)]
Price = Annotated[float, Field(ge=0, lt=1e10, allow_inf_nan=False), AfterValidator(_price)]
Currency = Annotated[str, AfterValidator(_currency)]
ImageUrl = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_image_url)]
CreationTime = Annotated[
    datetime, BeforeValidator(parsed_time), AfterValidator(_between(EARLIEST_CREATION)), _TIME_SCHEMA
]
EventTime = Annotated[datetime, BeforeValidator(parsed_time), AfterValidator(_between(EARLIEST_EVENT)), _TIME_SCHEMA]
Attributes = Annotated[
    dict[str, object],
    AfterValidator(_attributes),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MAX_ATTRIBUTES,
            "additionalProperties": {
                "anyOf": [
                    {"type": "string", "maxLength": MAX_ATTRIBUTE_LENGTH},
                    {"type": "number"},
                    {"type": "boolean"},
                    {"type": "array", "items": {"type": "string"}, "maxItems": MAX_LIST_LENGTH},
                ]
            },
        }
    ),
]
