"""Which of the two Postgres servers is the primary, and what the other one still needs to follow it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.errors import StateUnusable

Rejoin = Literal["start", "rewind", "copy"]
"""
How a replaced primary becomes a read replica. ``start``: it stopped with nothing that its successor lacks; ``rewind``:
it may hold writes that its successor never got; ``copy``: nothing in it can be used.
"""


class Roles(BaseModel):
    """
    Who is who, by port.

    Writing it down is the moment at which a promotion is decided: whoever starts the servers afterwards finishes it.

    Args:
        primary: Port of the server that takes writes.
        rejoin: What the other server needs, when it was a primary and has not followed its successor yet.
    """

    model_config = ConfigDict(frozen=True)

    primary: int
    rejoin: Rejoin | None = None

    def write(self, path: Path) -> None:
        """Replace the file at *path*; when this returns, it outlives a crash of the machine."""
        partial = path.with_suffix(".partial")
        with partial.open("w") as file:
            file.write(self.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.parent)

    @classmethod
    def read(cls, path: Path, *, first: int) -> Roles:
        """
        Return the roles at *path*; where there was no promotion yet, *first* is the primary.

        Raises:
            StateUnusable: the file is damaged.
        """
        try:
            return cls.model_validate_json(path.read_text())
        except FileNotFoundError:
            return cls(primary=first)
        except ValidationError as error:
            raise StateUnusable(
                f"{path} is damaged. It says which Postgres server is the primary, as "
                f'{{"primary": 5432}} or {{"primary": 5433}}: write there the one that took the last writes.'
            ) from error


def sync_directory(directory: Path) -> None:
    """Return once the names in *directory* would outlive a crash of the machine."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
