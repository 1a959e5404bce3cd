"""The text of a product that is embedded: one place, so that training and ingestion cannot differ."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping


def product_text(
    title: str,
    *,
    description: str | None = None,
    category: str | None = None,
    brand: str | None = None,
    attributes: Mapping[str, object] | None = None,
) -> str:
    """
    Return what the encoder reads of a product: title, brand, category, attributes by name, then the description.

    The description comes last since the encoder cuts off what is too long. A brand that the title names is not said
    again: it would weigh as much as what the product is. Attribute values that are not text, a number or a list of
    those are left out; white space is collapsed.
    """
    parts = [title, None if brand and _names(title, brand) else brand, category]
    parts += [f"{name}: {value}" for name, value in sorted(_readable(attributes or {}).items())]
    parts.append(description)
    return ". ".join(text for text in (" ".join(part.split()) for part in parts if part) if text)


def text_digest(text: str) -> bytes:
    """Return the first 16 bytes of the SHA-256 of *text* in UTF-8: equal digests, equal texts, equal vectors."""
    return hashlib.sha256(text.encode()).digest()[:16]


def _names(title: str, brand: str) -> bool:
    """Whether the words of *brand* stand in *title*."""
    return re.search(rf"(?<!\w){re.escape(brand.strip())}(?!\w)", title, re.IGNORECASE) is not None


def _readable(attributes: Mapping[str, object]) -> dict[str, str]:
    """The attributes that read as words, as text."""
    return {name: text for name, value in attributes.items() if (text := _words(value))}


def _words(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, list):
        return ", ".join(filter(None, (_words(item) for item in value)))
    return ""
