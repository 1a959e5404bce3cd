"""
Where artifacts lie, a local directory or an object store, behind the same few verbs.

Both promise that a directory put under a name appears whole or not at all, and that a small file is replaced at
once. Locally a rename gives that; on an object store the manifest, written last, does.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pyarrow import ArrowException

from artifacts.errors import ArtifactStoreUnavailable

STAGING_PREFIX = ".staging-"
ABANDONED_AFTER_S = 24 * 3600.0
_MAKE_ROOM = (
    "Nothing was changed. Make room there, for example with `shortlist artifacts prune` or by removing training runs "
    "that nobody needs, then run it again."
)


@dataclass(frozen=True)
class StoredFile:
    """A file below a directory: its relative posix path, its size, and when it was written, in seconds since 1970."""

    name: str
    bytes: int
    modified_at: float


@dataclass(frozen=True)
class Leftover:
    """What a writer left behind that was killed: its name, its size, and when it was last written to."""

    name: str
    bytes: int
    modified_at: float


class Withdrawn(Protocol):
    """A directory that readers see no more, and that is not yet gone."""

    def restore(self) -> None:
        """Let readers see it again."""

    def destroy(self) -> None:
        """Remove it for good."""


class Tree(Protocol):
    """A rooted tree of files; every name is a relative posix path."""

    def require(self) -> None:
        """
        Return if the root can be read, be it empty.

        Raises:
            ArtifactStoreUnavailable: it cannot; the message says what to look at.
        """

    def read(self, name: str) -> bytes | None:
        """
        The file's bytes, or None where there is no such file.

        Raises:
            ArtifactCorrupt: something else than a file is there.
        """

    def replace(self, name: str, content: bytes) -> None:
        """Put a small file in place of the old one, at once."""

    def names(self, name: str) -> list[str]:
        """The names of the files directly below *name*, sorted; none where it does not exist."""

    def directories(self, name: str) -> list[str]:
        """The names of the directories directly below *name*, sorted; none where it does not exist."""

    def files(self, name: str) -> list[StoredFile]:
        """Every file below *name*, however deep."""

    def put_directory(self, source: Path, files: list[str], name: str, manifest: bytes) -> None:
        """
        Put *files* of *source* and the manifest below *name*; readers see all of it or none.

        Raises:
            ArtifactConflict: *name* exists.
        """

    def withdraw(self, name: str) -> Withdrawn | None:
        """Hide the directory *name* from readers, at once; None where it is gone already."""

    def leftovers(self, name: str) -> list[Leftover]:
        """What killed writers left directly below *name*; a writer may still be at work on the latest of them."""

    def discard(self, name: str) -> None:
        """Remove the directory *name*, which readers do not see."""

    def local_directory(self, name: str) -> Path:
        """Where this machine keeps the files of *name*, present or not."""

    def download(self, name: str, files: list[str]) -> bool:
        """Bring *files* of *name* to its local directory anew; False where the tree is local already."""


def sweep(directory: Path) -> None:
    """Remove staging directories of this machine that nobody has touched for a day."""
    for left in directory.glob(f"{STAGING_PREFIX}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED_AFTER_S:
                shutil.rmtree(left, ignore_errors=True)


def require_room(directory: Path, needed: int) -> None:
    """Refuse to begin what would fill the disk: others may live on it."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise ArtifactStoreUnavailable(
            f"{directory} needs {needed:,} bytes and its disk has {free:,} left: No space left on device. {_MAKE_ROOM}"
        )


@contextmanager
def explained(intent: str, advice: str) -> Iterator[None]:
    """Turn an operating system's or object store's refusal into advice."""
    try:
        yield
    except (OSError, ArrowException) as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ArtifactStoreUnavailable(f"Cannot {intent}: {error}. {_MAKE_ROOM}") from error
        raise ArtifactStoreUnavailable(f"Cannot {intent}: {error}. {advice}") from error
