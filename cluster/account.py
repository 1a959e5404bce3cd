"""The operating system account that the embedded servers run as."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Account:
    """A user and group id."""

    uid: int
    gid: int

    def can_traverse(self, directory: Path) -> bool:
        """
        Say whether this account may pass through *directory* and every existing directory above it.

        Judged by owner, group and mode: access lists are not looked at.
        """
        return self.obstacle_to(directory) is None

    def obstacle_to(self, directory: Path) -> Path | None:
        """Return the topmost existing directory on the way to *directory* that this account may not enter."""
        path = directory.absolute()
        for step in (*reversed(path.parents), path):
            if not step.exists():
                return None
            status = step.stat()
            if status.st_uid == self.uid:
                allowed = status.st_mode & 0o100
            elif status.st_gid == self.gid:
                allowed = status.st_mode & 0o010
            else:
                allowed = status.st_mode & 0o001
            if not allowed:
                return step
        return None


def database_account() -> Account | None:
    """Return whom Postgres runs as: ``nobody`` when we are root, which Postgres refuses; None for ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(65534, 65534)
    return Account(nobody.pw_uid, nobody.pw_gid)
