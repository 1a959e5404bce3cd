"""How busy this machine is."""

from __future__ import annotations

import psutil


class Processor:
    """The processors of this machine, those of all processes together."""

    def __init__(self) -> None:
        self._working_s, self._idle_s = _times()

    def busy(self) -> float:
        """Return the share of the processors' time, in [0, 1], that was worked since the last call."""
        working_s, idle_s = _times()
        worked_s, all_s = working_s - self._working_s, working_s + idle_s - self._working_s - self._idle_s
        self._working_s, self._idle_s = working_s, idle_s
        # The kernel's count of idle time may go back a little.
        return min(max(worked_s / all_s, 0.0), 1.0) if all_s > 0 else 0.0


def _times() -> tuple[float, float]:
    """Seconds worked and idle since the start of the machine; waiting for a disk is idle."""
    times = psutil.cpu_times()
    idle_s = times.idle + getattr(times, "iowait", 0.0)
    # Guests are counted as users too.
    return sum(times) - idle_s - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0), idle_s
