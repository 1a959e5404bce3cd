"""Files that are files: a pipe or a device in the place of one would keep its reader waiting for ever."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from artifacts.errors import ArtifactCorrupt

_NO_FILE = "{} is not a file. Remove it, then activate a version or train again."


def open_regular(path: Path) -> BufferedReader:
    """
    Open *path* for reading; never waits for somebody to write.

    Raises:
        ArtifactCorrupt: a directory, pipe, socket or device is there.
        OSError: there is nothing, or it may not be read.
    """
    try:
        _require_regular(path, path.stat())
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ArtifactCorrupt(_NO_FILE.format(path)) from error
        raise
    # What was a file a moment ago may be a pipe by now.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _require_regular(path, os.fstat(descriptor))
    except ArtifactCorrupt:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def _require_regular(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ArtifactCorrupt(_NO_FILE.format(path))
