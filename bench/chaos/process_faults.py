"""Faults of processes: killed, held down, frozen, slowed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from bench.chaos.fault import CannotBeDone, Inject
from bench.chaos.processes import frozen, kill, slowed
from bench.chaos.subject import Subject

Choose = Callable[[Subject], Sequence[int]]
"""Finds the pids that something is done to."""


def replicas(deployment: str, *, most: int | None = None) -> Choose:
    """All replicas of *deployment*, or *most* of them."""
    return lambda subject: subject.replicas(deployment)[:most]


def part(name: str) -> Choose:
    """A server that the supervisor watches."""
    return lambda subject: [subject.part(name)]


def proxy(title: str) -> Choose:
    """Serve's own processes of that title."""
    return lambda subject: subject.proxies(title)


def killed(choose: Choose) -> Inject:
    """``kill -9``; somebody starts it again."""

    @contextlib.contextmanager
    def inject(subject: Subject) -> Iterator[None]:
        pids = _found(choose, subject)
        subject.strike()
        kill(pids)
        yield

    return inject


def held_down(choose: Choose) -> Inject:
    """``kill -9``, and nobody starts it again until the fault ends."""

    @contextlib.contextmanager
    def inject(subject: Subject) -> Iterator[None]:
        pids = _found(choose, subject)
        with subject.unattended():
            subject.strike()
            kill(pids)
            yield

    return inject


def stopped(choose: Choose, *, alone: bool = False) -> Inject:
    """``kill -STOP``, *alone* without descendants; ``kill -CONT`` for those that nobody has replaced at the end."""

    @contextlib.contextmanager
    def inject(subject: Subject) -> Iterator[None]:
        pids = _found(choose, subject)
        subject.strike()
        with frozen(pids, alone=alone):
            yield

    return inject


def slow(choose: Choose, *, stopped_s: float, runs_s: float) -> Inject:
    """Runs for *runs_s* between stops of *stopped_s*."""

    @contextlib.contextmanager
    def inject(subject: Subject) -> Iterator[None]:
        pids = _found(choose, subject)
        subject.strike()
        with slowed(pids, stopped_s=stopped_s, runs_s=runs_s):
            yield

    return inject


def at_once(*injects: Inject) -> Inject:
    """Several faults together; the strike is that of the last."""

    @contextlib.contextmanager
    def inject(subject: Subject) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for each in injects:
                stack.enter_context(each(subject))
            yield

    return inject


def _found(choose: Choose, subject: Subject) -> Sequence[int]:
    try:
        pids = choose(subject)
    except LookupError as missing:
        raise CannotBeDone(f"This stack does not run {missing}") from missing
    if not pids:
        raise CannotBeDone("This stack does not run such a process now")
    return pids
