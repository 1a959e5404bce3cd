from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from deployments.replica_log import ROOMS, log_beside, log_beside_serve


class Kept(logging.Handler):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def other() -> Iterator[logging.Logger]:
    """Another logger; afterwards ours are as they were."""
    rooms = [logging.getLogger(name) for name in ROOMS]
    before = [(room.handlers, room.level) for room in rooms]
    other = logging.getLogger("other")
    other.setLevel(logging.INFO)
    other.handlers = [Kept()]
    yield other
    for room, (handlers, level) in zip(rooms, before, strict=True):
        room.handlers = handlers
        room.setLevel(level)


def lines(other: logging.Logger) -> list[tuple[str, str]]:
    kept = other.handlers[0]
    assert isinstance(kept, Kept)
    return kept.lines


class TestLogBeside:
    def test_our_lines_arrive_with_their_level(self, other: logging.Logger) -> None:
        log_beside(other)
        logging.getLogger("storage.monitor").info("answers again")
        logging.getLogger("shortlist.alerts").warning("ALERT")
        logging.getLogger("storage.monitor").debug("too much")
        assert lines(other) == [("INFO", "answers again"), ("WARNING", "ALERT")]

    def test_twice_is_once(self, other: logging.Logger) -> None:
        log_beside(other)
        log_beside(other)
        logging.getLogger("deployments.hop").info("once")
        assert lines(other) == [("INFO", "once")]

    def test_outside_a_replica_nothing_changes(self) -> None:
        before = [logging.getLogger(name).handlers for name in ROOMS]
        log_beside_serve()
        assert [logging.getLogger(name).handlers for name in ROOMS] == before
