"""The size of the log files is bounded: each keeps its newest part and one older part."""

from __future__ import annotations

import shutil
from pathlib import Path

LIMIT_BYTES = 16_000_000


def cut_long_logs(directory: Path, limit_bytes: int = LIMIT_BYTES) -> list[Path]:
    """
    Move the content of each ``*.log`` in *directory* that is longer than *limit_bytes* to ``*.log.1``.

    The file is emptied in place: its writers append, so they go on at its new beginning.

    Returns:
        The files that were cut.
    """
    cut = []
    for log in sorted(directory.glob("*.log")):
        if log.is_file() and log.stat().st_size > limit_bytes:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            with log.open("r+b") as file:
                file.truncate(0)
            cut.append(log)
    return cut
