"""A process by pid and birth, so that a number that was given out again is never mistaken for it."""

from __future__ import annotations

import contextlib

import psutil
from pydantic import BaseModel, ConfigDict


class ProcessIdentity(BaseModel):
    """A pid and when the process began, in seconds since 1970."""

    model_config = ConfigDict(frozen=True)

    pid: int
    created_at: float

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        """
        Return the identity of the process that has *pid* now.

        Raises:
            psutil.NoSuchProcess: there is none.
        """
        return cls(pid=pid, created_at=psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """Return the process, or None when it has ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            # Birth is counted in clock ticks of 10 ms from a boot time that may be corrected by a little.
            if abs(process.create_time() - self.created_at) < 2.0 and process.status() != psutil.STATUS_ZOMBIE:  # noqa: PLR2004
                return process
        return None

    def descendants(self) -> set[int]:
        """Return the pids of everything below it."""
        process = self.process()
        if process is None:
            return set()
        with contextlib.suppress(psutil.NoSuchProcess):
            return {each.pid for each in process.children(recursive=True)}
        return set()

    def memory_bytes(self, *, descendants: bool) -> int:
        """Return its resident memory, with that of every descendant if asked for; 0 when it has ended."""
        process = self.process()
        if process is None:
            return 0
        family = [process]
        with contextlib.suppress(psutil.NoSuchProcess):
            family += process.children(recursive=True) if descendants else []
        total = 0
        for each in family:
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
        return total
