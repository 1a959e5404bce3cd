"""What a client saw of one fault, in figures, and whether the contract held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from bench.chaos.fault import Fault
from bench.chaos.record import Pair, Record

# A kill is over a moment after it was begun.
GRACE_S = 0.25
# What a busy machine may add for want of a processor: deadlines that are missed, reads that are shed.
NOISE_SHARE = 0.02


@dataclass(frozen=True)
class Moments:
    """
    When things happened, in seconds on the machine's monotonic clock.

    Attributes:
        struck_s: The fault.
        healed_s: What does not heal by itself was undone; the fault itself where all of it does.
        recovered_s: The first of a row of answers as on a good day; None if there was none in time.
        restored_s: Every process was there again; None if not in time.
        ended_s: The end of the experiment.
    """

    struck_s: float
    healed_s: float
    recovered_s: float | None
    restored_s: float | None
    ended_s: float


@dataclass(frozen=True)
class Measurement:
    """
    One fault as clients saw it.

    Attributes:
        fault: Its name.
        does: What was done.
        reads: Reads from the fault until everything was there again.
        degraded_share: Of those until recovery, how many were answered by something that stands in.
        errors_in_flight: Reads answered 5xx, or not at all, that had begun when the fault struck, or was not noticed.
        errors: Reads answered 5xx that began later.
        refused: Reads that nobody listened to, or whose connection broke, that began later.
        silent: Reads that were not answered before the client gave up.
        shed: Reads refused with 429, as if there were too many.
        gap_s: The longest time without any answered read, where reads failed.
        pairs: Degrading pairs and how many answers carried each.
        strange: Those of them that the contract does not foresee.
        noticed_s: From the fault to the first answer that says so.
        recovered_s: From the healing to the first of a row of answers as on a good day.
        restored_s: From the healing until every process was there again.
        p50_ms: Of reads answered until recovery.
        p95_ms: Of reads answered until recovery.
        writes: Batches of events acknowledged.
        writes_failed: Batches refused or not answered.
        acknowledged: Events acknowledged, from the beginning of the stream on.
        lost: Acknowledged events that the primary does not hold.
        twice: Acknowledged events that it holds more than once.
        violations: Where the contract did not hold, in words.
        skipped: Why the fault was not done, if it was not.
    """

    fault: str
    does: str
    reads: int = 0
    degraded_share: float = 0.0
    errors_in_flight: int = 0
    errors: int = 0
    refused: int = 0
    silent: int = 0
    shed: int = 0
    gap_s: float = 0.0
    pairs: Mapping[str, int] = field(default_factory=dict)
    strange: Mapping[str, int] = field(default_factory=dict)
    noticed_s: float | None = None
    recovered_s: float | None = None
    restored_s: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    writes: int = 0
    writes_failed: int = 0
    acknowledged: int = 0
    lost: int = 0
    twice: int = 0
    violations: Sequence[str] = ()
    skipped: str | None = None


def measured(
    fault: Fault,
    records: Iterable[Record],
    moments: Moments,
    *,
    kept: Mapping[str, int],
    complaints: Sequence[str] = (),
) -> Measurement:
    """
    Return what *records* say of *fault*.

    Args:
        fault: What was done, and what may be seen of it.
        records: Every request of the stream so far.
        moments: When things happened.
        kept: Acknowledged event to how often the primary holds it.
        complaints: What was found wrong by other means.
    """
    everything = list(records)
    window = [record for record in everything if record.ended_s > moments.struck_s]
    reads = [record for record in window if record.read]
    lasted_until_s = moments.ended_s if moments.recovered_s is None else max(moments.recovered_s, moments.healed_s)
    during = [record for record in reads if record.began_s < lasted_until_s]
    failed = [record for record in reads if (record.server_error or record.broken)]
    noticed_s = moments.struck_s + GRACE_S + fault.visible.unnoticed_s
    early = [record for record in failed if record.began_s <= noticed_s]
    late = [record for record in failed if record.began_s > noticed_s]
    pairs = Counter(pair for record in reads for pair in set(record.pairs))
    posts = [record for record in window if not record.read]
    acknowledged = {event for record in everything for event in record.acknowledged}
    answered = sorted(record.ms for record in during if record.status == 200)  # noqa: PLR2004
    said = [record.ended_s for record in reads if fault.visible.says.intersection(record.pairs)]
    found = Measurement(
        fault=fault.name,
        does=fault.does,
        reads=len(reads),
        degraded_share=round(sum(record.degraded for record in during) / max(1, len(during)), 4),
        errors_in_flight=len(early),
        errors=sum(record.server_error for record in late),
        refused=sum(record.broken in {"refused", "reset"} for record in late),
        silent=sum(record.broken == "silent" for record in late),
        shed=sum(record.shed for record in reads),
        gap_s=round(_longest_gap(reads, moments.struck_s), 1) if failed else 0.0,
        pairs={_word(pair): times for pair, times in pairs.most_common()},
        strange={_word(pair): times for pair, times in pairs.most_common() if pair not in fault.visible.pairs},
        noticed_s=round(min(said) - moments.struck_s, 2) if said else None,
        recovered_s=None if moments.recovered_s is None else round(moments.recovered_s - moments.healed_s, 1),
        restored_s=None if moments.restored_s is None else round(moments.restored_s - moments.healed_s, 1),
        p50_ms=_percentile(answered, 0.50),
        p95_ms=_percentile(answered, 0.95),
        writes=sum(record.status == 202 for record in posts),  # noqa: PLR2004
        writes_failed=sum(record.status != 202 for record in posts),  # noqa: PLR2004
        acknowledged=len(acknowledged),
        lost=sum(kept.get(event, 0) == 0 for event in acknowledged),
        twice=sum(kept.get(event, 0) > 1 for event in acknowledged),
    )
    back_s = _back_s(reads, noticed_s) if fault.visible.errors == "until it is back" else noticed_s
    wrong = [*_violations(fault, found, late, posts, back_s), *_malformed(window), *complaints]
    return replace(found, violations=tuple(wrong))


def _violations(
    fault: Fault, found: Measurement, late: Sequence[Record], posts: Sequence[Record], back_s: float
) -> list[str]:
    """What breaks the contract, given that nothing that began after *back_s* may fail."""
    wrong = _failed_reads(fault, found, [record for record in late if record.began_s > back_s])
    if fault.visible.says and found.noticed_s is None:
        wrong.append(f"no answer says {' or '.join(sorted(map(_word, fault.visible.says)))}")
    if sum(found.strange.values()) > NOISE_SHARE * found.reads:
        wrong.append("unforeseen: " + ", ".join(f"{pair} x{times}" for pair, times in found.strange.items()))
    failed = [each for each in posts if each.status != 202 and each.began_s > back_s]  # noqa: PLR2004
    if fault.visible.writes == "go on" and failed:
        wrong.append(f"{len(failed)} writes failed: {_ends(failed)}")
    if found.lost or found.twice:
        wrong.append(f"of acknowledged events {found.lost} are lost, {found.twice} there twice")
    if found.recovered_s is None:
        wrong.append("the answers did not recover in time")
    if found.restored_s is None:
        wrong.append("the processes did not all come back in time")
    return wrong


def _failed_reads(fault: Fault, found: Measurement, late: Sequence[Record]) -> list[str]:
    wrong = []
    outage = fault.visible.errors == "until it is back"
    if outage and found.gap_s > fault.visible.outage_s:
        wrong.append(f"no answer for {found.gap_s} s, at most {fault.visible.outage_s:g} s allowed")
    if fault.visible.errors == "none" and found.errors_in_flight:
        wrong.append(f"{found.errors_in_flight} reads in flight failed")
    if late:
        wrong.append(f"{len(late)} reads failed that began afterwards: {_ends(late)}")
    if not outage and found.shed > NOISE_SHARE * found.reads:
        wrong.append(f"{found.shed} reads were shed though there were no more of them")
    return wrong


def _back_s(reads: Iterable[Record], noticed_s: float) -> float:
    """When the first read was answered after *noticed_s*: what is gone then is back."""
    answered = (record.ended_s for record in reads if record.status == 200)  # noqa: PLR2004
    return min((ended_s for ended_s in answered if ended_s > noticed_s), default=float("inf"))


def _malformed(records: Iterable[Record]) -> list[str]:
    faults = Counter(fault for record in records for fault in record.faults)
    return [f"{fault} (x{times})" for fault, times in faults.most_common(5)]


def _ends(records: Iterable[Record]) -> str:
    """How requests ended, counted."""
    ends = Counter(record.broken or f"{record.status} {record.code}" for record in records)
    return ", ".join(f"{end} x{times}" for end, times in ends.most_common())


def _longest_gap(reads: Iterable[Record], begin_s: float) -> float:
    """The longest time without an answered read, from *begin_s* on."""
    ends = sorted(record.ended_s for record in reads if record.status == 200)  # noqa: PLR2004
    moments = [begin_s, *(moment for moment in ends if moment > begin_s)]
    return max((later - earlier for earlier, later in pairwise(moments)), default=float("inf"))


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1) if ordered else None


def _word(pair: Pair) -> str:
    return "=".join(pair)
