"""What a job says while it works, and its last line."""

from __future__ import annotations

import json
import time

from pydantic import BaseModel

_FIELDS = {"kind", "version", "metrics", "counts", "seconds", "alarms"}
_started = time.monotonic()


def say(message: str) -> None:
    """Print *message* with the seconds since the job began."""
    print(f"[{time.monotonic() - _started:6.1f} s] {message}", flush=True)


def conclude(manifest: BaseModel, *, changed: bool = True) -> None:
    """Print the job's last line: one JSON object; *changed* says whether the version is a new one."""
    print(json.dumps(manifest.model_dump(mode="json", include=_FIELDS) | {"changed": changed}), flush=True)


class Stopwatch:
    """Seconds by step, for the manifest."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, step: str) -> None:
        """Book the time since the last lap to *step*."""
        now = time.monotonic()
        self.seconds[step] = round(self.seconds.get(step, 0.0) + now - self._since, 3)
        self._since = now
