"""The version of a kind that someone uses, whoever chose it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from artifacts.active import Cause, Loaded

T = TypeVar("T")


class Held(Protocol[T]):
    """What retrieval asks of the artifact that it works with; the active one, or one on trial."""

    @property
    def cause(self) -> Cause | None:
        """Why there is none."""

    @property
    def current(self) -> Loaded[T] | None:
        """The version in use, or None."""

    def of_version(self, version: str) -> Loaded[T] | None:
        """That version, if it is held."""


@dataclass(frozen=True)
class Pinned(Generic[T]):
    """One version and no other."""

    current: Loaded[T]
    cause: Cause | None = None

    def of_version(self, version: str) -> Loaded[T] | None:
        """The version, if it is the one."""
        return self.current if self.current.version == version else None
