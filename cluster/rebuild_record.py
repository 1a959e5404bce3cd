"""An artifact that the supervisor trained anew, as it is written down."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Kind = Literal["embeddings", "collaborative"]


class RebuildRecord(BaseModel):
    """
    One try.

    Attributes:
        kind: What is trained.
        instead_of: What ``ACTIVE`` held; None where it could not be read.
        cause: Why serving could use no version.
        condition: How far it is.
        error: Why it failed.
        began_at: Seconds since 1970.
        seconds: How long it took; None while it runs.
    """

    kind: Kind
    instead_of: str | None
    cause: str
    condition: Literal["running", "done", "failed"] = "running"
    error: str | None = None
    began_at: float
    seconds: float | None = None

    @property
    def summary(self) -> str:
        """A line for people."""
        took = "" if self.seconds is None else f" after {self.seconds:.0f} s"
        why = "" if self.error is None else f" ({self.error.splitlines()[-1]})"
        return f"{self.kind} {self.condition}{took}{why}"
