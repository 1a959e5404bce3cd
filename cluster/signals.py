"""Signals that ask a foreground command to stop, turned into one exception."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class StopAsked(BaseException):
    """Ctrl-C, SIGTERM or SIGHUP: stop what was started. Not an `Exception`, so nothing swallows it on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _ask(number: int, _frame: FrameType | None) -> None:
    # Once is enough: a second signal must not interrupt the stopping itself.
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)
    raise StopAsked(number)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[None]:
    """Raise `StopAsked` in the main thread on the first such signal, also when it was ignored where we come from."""
    before = {number: signal.signal(number, _ask) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
