"""The table of what clients saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from bench.chaos.campaign import RandomRun
from bench.chaos.fault import Fault, Visible
from bench.chaos.measurement import Measurement, Moments, measured
from bench.chaos.record import Record
from bench.chaos.subject import Subject

HEAD = (
    "fault",
    "reads",
    "5xx in flight / later",
    "refused, silent",
    "429",
    "no answer for",
    "degraded",
    "says",
    "noticed",
    "recovered",
    "processes back",
    "p50 / p95 ms",
    "writes ok / failed",
    "lost",
    "contract",
)
MOST_PAIRS = 4


def head() -> str:
    """The first two lines of the table, in Markdown."""
    return "\n".join(["| " + " | ".join(HEAD) + " |", "|" + "|".join(" --- " for _ in HEAD) + "|"])


def line(result: Measurement) -> str:
    """The line of one fault."""
    return "| " + " | ".join(_row(result)) + " |"


def baseline(records: Sequence[Record]) -> Measurement:
    """What there is to see while nothing is wrong."""
    moments = Moments(records[0].began_s, records[0].began_s, records[-1].ended_s, records[-1].ended_s, 0.0)
    nothing = Fault("none", "nothing", _nothing, Visible(), "none")
    kept = {event: 1 for record in records for event in record.acknowledged}
    found = measured(nothing, records, moments, kept=kept)
    return replace(found, recovered_s=None, restored_s=None, violations=())


def violations(results: Sequence[Measurement]) -> str:
    """A line for each violation, a line for each fault that was not done, and the sums."""
    lines = [f"- {result.fault}: {violation}" for result in results for violation in result.violations]
    lines += [f"- {result.fault}: not done. {result.skipped}" for result in results if result.skipped]
    done = [result for result in results if not result.skipped]
    kept = sum(not result.violations for result in done)
    events = max((result.acknowledged for result in done), default=0)
    lost = sum(result.lost for result in done)
    lines.append(f"{len(done)} faults, the contract kept in {kept}; {events} events acknowledged, {lost} of them lost.")
    return "\n".join(lines)


def random_report(result: RandomRun) -> str:
    """What became of a random run, in a few lines."""
    lines = [
        f"{len(result.done)} of {result.number} faults in {result.seconds:.0f} s",
        f"again: --random {result.number} --seed {result.seed}",
        f"{result.acknowledged} events acknowledged, {len(result.lost)} lost, {len(result.twice)} there twice",
        f"{result.reads} reads, {result.failed} of them failed ({result.failed / max(1, result.reads):.1%})",
        f"answers malformed: {'; '.join(result.malformed) or 'none'}",
        f"at the end: {'as on a good day' if result.recovered else 'not recovered'}",
        f"missing at the end: {', '.join(result.missing) or 'nothing'}",
    ]
    lines += [f"- not done: {reason}" for reason in result.skipped]
    lines += [f"- lost: {event}" for event in result.lost[:20]]
    return "\n".join(lines)


@contextmanager
def _nothing(_subject: Subject) -> Iterator[None]:
    yield


def _row(result: Measurement) -> tuple[str, ...]:
    if result.skipped:
        return (result.fault, *("" for _ in HEAD[2:]), "not done")
    shown = list(result.pairs.items())[:MOST_PAIRS]
    more = len(result.pairs) - len(shown)
    return (
        result.fault,
        str(result.reads),
        f"{result.errors_in_flight} / {result.errors}",
        f"{result.refused}, {result.silent}",
        str(result.shed),
        f"{result.gap_s:g} s" if result.gap_s else "-",
        f"{result.degraded_share:.0%}",
        ", ".join(pair for pair, _ in shown) + (f" (+{more})" if more > 0 else "") or "-",
        _seconds(result.noticed_s),
        _seconds(result.recovered_s),
        _seconds(result.restored_s),
        f"{result.p50_ms or 0:.0f} / {result.p95_ms or 0:.0f}",
        f"{result.writes} / {result.writes_failed}",
        str(result.lost),
        "kept" if not result.violations else f"broken ({len(result.violations)})",
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
