"""Many faults one after the other on one stack: the matrix, and faults at random."""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.chaos.experiment import Patience, experiment, wait_well
from bench.chaos.fault import CannotBeDone, Fault
from bench.chaos.measurement import Measurement
from bench.chaos.stream import Stream
from bench.chaos.subject import Subject

log = logging.getLogger("chaos")

WELL_TIMEOUT_S = 300.0
OVERLAP_SHARE = 0.3
PAUSE_S = (0.5, 6.0)
LASTS_S = (1.0, 8.0)
# One less than what the supervisor starts again, in a little more than its window.
MOST_ENDED, WINDOW_S = 4, 330.0


def matrix(
    faults: Sequence[Fault],
    subject: Subject,
    stream: Stream,
    patience: Patience,
    *,
    follow: Callable[[Measurement], None],
) -> None:
    """
    Do each of *faults*, those of one setup together.

    Args:
        follow: Called with what was seen of each.
    """
    for setup, group in itertools.groupby(sorted(faults, key=lambda fault: repr(fault.setup)), lambda each: each.setup):
        with subject.configured(setup):
            for fault in group:
                if wait_well(stream, since_s=time.monotonic(), timeout_s=WELL_TIMEOUT_S) is None:
                    log.warning("%s begins though the answers are not as on a good day", fault.name)
                follow(experiment(fault, subject, stream, patience))


@dataclass(frozen=True)
class Act:
    """One step of a random run: a fault that begins after a pause, and lasts."""

    fault: Fault
    pause_s: float
    lasts_s: float
    beside: Fault | None = None

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The fault, and the one beside it."""
        return (self.fault,) if self.beside is None else (self.fault, self.beside)

    @property
    def ends(self) -> frozenset[str]:
        """The parts that have to be started again."""
        return frozenset().union(*(fault.ends for fault in self.faults))


def drawn(faults: Sequence[Fault], seed: int) -> Iterator[Act]:
    """
    Acts without end, the same for the same *seed* and *faults*: about a third of them two faults at once.

    No part is ended more often than its supervisor starts it again; where that leaves no two faults, it ends early.
    """
    dice = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    now_s = 0.0
    ended_s: dict[str, list[float]] = {}

    def bearable(fault: Fault) -> bool:
        return all(sum(now_s - each < WINDOW_S for each in ended_s.get(part, ())) < MOST_ENDED for part in fault.ends)

    while True:
        possible = [each for each in faults if bearable(each)]
        if len(possible) < 2:  # noqa: PLR2004 - two at once
            return
        fault, other = dice.sample(possible, 2)
        act = Act(
            fault,
            pause_s=dice.uniform(*PAUSE_S),
            lasts_s=dice.uniform(*LASTS_S),
            beside=other if dice.random() < OVERLAP_SHARE else None,
        )
        now_s += act.pause_s + act.lasts_s
        for part in act.ends:
            ended_s.setdefault(part, []).append(now_s)
        yield act


@dataclass(frozen=True)
class RandomRun:
    """
    What became of a random run.

    Attributes:
        number: Of acts that were asked for; it may be more than could be done.
        seed: Draws the same faults again.
        done: Names of the faults in order, those at once joined by ``+``.
        skipped: Faults that could not be done, and why.
        acknowledged: Events acknowledged.
        lost: Those that the primary does not hold.
        twice: Those that it holds more than once.
        reads: Reads asked.
        failed: Those that got no answer or a 5xx.
        malformed: Answers that break the contract's form, in words, counted.
        recovered: Whether the answers were as on a good day at the end.
        missing: What was not there at the end.
        seconds: How long it took.
    """

    number: int
    seed: int
    done: Sequence[str]
    skipped: Sequence[str]
    acknowledged: int
    lost: Sequence[str]
    twice: Sequence[str]
    reads: int
    failed: int
    malformed: Sequence[str]
    recovered: bool
    missing: Sequence[str]
    seconds: float

    @property
    def kept(self) -> bool:
        """Whether all was done, nothing acknowledged was lost, every answer was well-formed and all recovered."""
        broken = self.lost or self.twice or self.malformed or self.missing
        return len(self.done) >= self.number and not broken and self.recovered


def random_run(
    faults: Sequence[Fault], subject: Subject, stream: Stream, *, number: int, seed: int, follow: Callable[[str], None]
) -> RandomRun:
    """
    Do *number* faults drawn by *seed*, with short pauses and without waiting for recovery; then look for every event.

    Args:
        follow: Called with a line for each.
    """
    began = time.monotonic()
    done: list[str] = []
    skipped: list[str] = []
    for act in drawn(faults, seed):
        if len(done) >= number or len(skipped) > number:
            break
        time.sleep(act.pause_s)
        stream.check()
        with ExitStack() as stack:
            names = []
            for fault in act.faults:
                try:
                    stack.enter_context(fault.inject(subject))
                except (CannotBeDone, LookupError) as reason:
                    skipped.append(f"{fault.name}: {reason}")
                else:
                    names.append(fault.name)
            if names:
                done.append("+".join(names))
                follow(f"{len(done):>4}/{number}  {done[-1]} for {act.lasts_s:.1f} s")
                time.sleep(act.lasts_s)
    recovered = wait_well(stream, since_s=time.monotonic(), timeout_s=WELL_TIMEOUT_S) is not None
    missing = _missing_at_last(subject)
    records = stream.answers.read()
    acknowledged = sorted({event for record in records for event in record.acknowledged})
    kept = subject.events_kept(acknowledged)
    reads = [record for record in records if record.read]
    return RandomRun(
        number=number,
        seed=seed,
        done=done,
        skipped=skipped,
        acknowledged=len(acknowledged),
        lost=[event for event in acknowledged if event not in kept],
        twice=[event for event in acknowledged if kept.get(event, 0) > 1],
        reads=len(reads),
        failed=sum(bool(record.broken or record.server_error) for record in reads),
        malformed=sorted({fault for record in records for fault in record.faults}),
        recovered=recovered,
        missing=missing,
        seconds=round(time.monotonic() - began, 1),
    )


def _missing_at_last(subject: Subject, timeout_s: float = 180.0) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while missing := subject.missing():
        if time.monotonic() > deadline:
            break
        time.sleep(1.0)
    return missing
