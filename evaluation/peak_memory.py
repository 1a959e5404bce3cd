"""The most memory that a process held."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import psutil

_EVERY_S = 0.005


class PeakMemory:
    """
    Watches this process while it is entered.

    Memory that others can see too, files and the object store, is not counted: it is not the process's own.

    Attributes:
        before: Bytes at the beginning.
        peak: The most bytes since then.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self.before = self.peak = self._own()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.peak = max(self.peak, self._own())

    def _watch(self) -> None:
        while not self._over.wait(_EVERY_S):
            self.peak = max(self.peak, self._own())

    def _own(self) -> int:
        memory = self._process.memory_info()
        return int(memory.rss - getattr(memory, "shared", 0))
