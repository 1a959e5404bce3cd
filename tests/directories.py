"""Temporary directories that servers can live in."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a name of its own there
DISK = Path("/tmp")  # noqa: S108 - same
ENOUGH_BYTES = 6_000_000_000
"""What must be free in memory before the servers of the tests keep their files there."""


@contextlib.contextmanager
def short_directory(prefix: str) -> Iterator[Path]:
    """
    A directory with a short path that the database account can enter; removed afterwards.

    It lies in memory where there is much of it: there the hundreds of files of a new database take a hundredth of a
    second, on a busy disk half a second.
    """
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if _is_roomy(MEMORY) else DISK))
    directory.chmod(0o711)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _is_roomy(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK) and shutil.disk_usage(directory).free > ENOUGH_BYTES
