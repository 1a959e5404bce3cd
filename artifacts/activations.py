"""What was put into use, when, instead of what; and from that, what a rollback goes back to."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

Action = Literal["activate", "rollback"]
ENTRY_SUFFIX = ".json"
HISTORY_READ = 200
"""So many activations are looked at, the latest; older ones stay where they are."""


class Activation(BaseModel):
    """
    One activation.

    Attributes:
        version: Put into use.
        replaced: In use until then; None where nothing was, or where nobody could tell.
        overruled: What the gate found wrong and `--force` overruled.
    """

    model_config = ConfigDict(frozen=True)

    version: str
    replaced: str | None
    activated_at: AwareDatetime
    action: Action = "activate"
    overruled: tuple[str, ...] = ()

    @classmethod
    def told(cls, content: bytes) -> list[Activation]:
        """Return what *content* tells, or nothing where it is damaged."""
        try:
            return [cls.model_validate_json(content)]
        except ValidationError:
            return []


def entry_name(activation: Activation) -> str:
    """A file name of its own for *activation*; names sort by time."""
    return f"{activation.activated_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}{ENTRY_SUFFIX}"


def in_use_before(history: Sequence[Activation], active: str | None) -> list[str]:
    """
    Return the versions in use before *active*, the last one first, each once.

    A rollback undoes: what it left is not gone back to, so that a second rollback goes further back. Where *active* is
    not known, the version in use last comes first.
    """
    past: list[str] = []
    for activation in history:
        if activation.action == "rollback" and activation.version in past:
            kept = _last(past, activation.version) + 1
            left = past[kept:]
            past = [version for version in past[:kept] if version not in left]
        elif not past or past[-1] != activation.version:
            past.append(activation.version)
    if active in past:
        del past[_last(past, active) :]
    return [version for version in dict.fromkeys(reversed(past)) if version != active]


def _last(versions: Sequence[str], version: str) -> int:
    return len(versions) - 1 - list(reversed(versions)).index(version)
