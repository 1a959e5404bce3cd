"""One fault done to a stack under its stream, and measured."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.chaos.fault import CannotBeDone, Fault
from bench.chaos.measurement import Measurement, Moments, measured
from bench.chaos.record import Record
from bench.chaos.stream import Stream
from bench.chaos.subject import Subject

log = logging.getLogger("chaos")

POLL_S = 0.25
HEALTHY_READS = 25
HEALTHY_POSTS = 3


@dataclass(frozen=True)
class Patience:
    """
    How long to wait.

    Attributes:
        least_s: A fault lasts at least.
        recovery_s: For answers as on a good day, and for every process to be back.
        strength: Whether to wait for every process.
    """

    least_s: float = 6.0
    recovery_s: float = 150.0
    strength: bool = True


def experiment(fault: Fault, subject: Subject, stream: Stream, patience: Patience | None = None) -> Measurement:
    """
    Do *fault* to *subject* while *stream* asks, undo it, wait for recovery, and return what was seen.

    Whatever ends this, what was done is undone. Begin with the answers as on a good day: `wait_well`.
    """
    patience = patience or Patience()
    subject.struck_s, subject.complaints = None, []
    log.info("%s: %s", fault.name, fault.does)
    try:
        with fault.inject(subject):
            struck_s = subject.struck_s or time.monotonic()
            least_s = max(patience.least_s, fault.least_s)
            _wait(lambda: time.monotonic() > struck_s + least_s, timeout_s=least_s + 1, stream=stream)
            if fault.visible.says:
                _wait(lambda: _said(fault, stream.answers.since(struck_s)), timeout_s=fault.hold_s, stream=stream)
    except CannotBeDone as reason:
        return Measurement(fault.name, fault.does, skipped=str(reason))
    healed_s = struck_s if fault.heals_itself else time.monotonic()
    deadline = time.monotonic() + patience.recovery_s
    recovered_s = wait_well(stream, since_s=max(healed_s, struck_s), timeout_s=patience.recovery_s)
    restored_s = None
    if patience.strength:
        _wait(lambda: not subject.missing(), timeout_s=max(1.0, deadline - time.monotonic()), stream=stream, poll_s=1.0)
        missing = subject.missing()
        restored_s = None if missing else time.monotonic()
        if missing:
            subject.complain(f"missing at the end: {', '.join(missing)}")
    moments = Moments(struck_s, healed_s, recovered_s, restored_s or struck_s, time.monotonic())
    if patience.strength and restored_s is None:
        moments = Moments(struck_s, healed_s, recovered_s, None, time.monotonic())
    records = stream.answers.read()
    acknowledged = sorted({event for record in records for event in record.acknowledged})
    kept = subject.events_kept(acknowledged)
    result = measured(fault, records, moments, kept=kept, complaints=tuple(subject.complaints))
    for violation in result.violations:
        log.warning("%s: %s", fault.name, violation)
    return result


def wait_well(stream: Stream, *, since_s: float, timeout_s: float) -> float | None:
    """Return when the first of a row of answers as on a good day was there; None if there is no such row in time."""
    first: float | None = None

    def well() -> bool:
        nonlocal first
        first = _first_of_a_row(stream.answers.since(since_s))
        return first is not None

    _wait(well, timeout_s=timeout_s, stream=stream)
    return first


def _first_of_a_row(records: Sequence[Record]) -> float | None:
    """When the first answer ended of the last row without any other; None where the row is too short."""
    reads: list[Record] = []
    posts = 0
    for record in reversed(records):
        if not record.well:
            break
        if record.read:
            reads.append(record)
        else:
            posts += 1
    asked_posts = any(not record.read for record in records)
    if len(reads) < HEALTHY_READS or (asked_posts and posts < HEALTHY_POSTS):
        return None
    return min(record.ended_s for record in reads)


def _said(fault: Fault, records: Sequence[Record]) -> bool:
    return any(fault.visible.says.intersection(record.pairs) for record in records)


def _wait(condition: Callable[[], bool], *, timeout_s: float, stream: Stream, poll_s: float = POLL_S) -> bool:
    """Return whether *condition* came true in time; fails when the stream itself has ended."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        stream.check()
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True
