"""Ids and other short texts, wherever they come from."""

# Pydantic reads these annotations at run time.
import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

MAX_ID_LENGTH = 128

# U+D800 to U+DFFF alone are no characters and cannot be stored.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """
    Return *text*, which is one line of characters.

    Raises:
        PydanticCustomError: it holds a control character, or something that is no character.
    """
    if UNPRINTABLE.search(text):
        raise PydanticCustomError("control_character", "must not contain control characters or invalid Unicode")
    return text


def _decoded(text: str) -> str:
    """Two ids whose bytes were not UTF-8 would both become U+FFFD, and one."""
    if "\ufffd" in text:
        raise PydanticCustomError("not_utf_8", "must be valid UTF-8")
    return text


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH), AfterValidator(printable), AfterValidator(_decoded)]
