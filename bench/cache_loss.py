"""
What searches cost without Redis: ``python -m bench.cache_loss``, against the local stack that runs.

Redis is well, then killed, then well again, then frozen, then well again, all in one run; in each phase searches are
sent one after the other, queries that were never asked before and queries that are asked again and again. Around each
fault the first searches, which find out about it, are counted apart: the breaker opens after a few of them. Only the
stack's own Valkey is touched, and it is let go on whatever happens.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from bench.chaos.processes import frozen, kill
from cluster.child import wait_until
from cluster.local_stack import LocalStack
from cluster.state_directory import locate

SEED = 7
RETURN_S = 180.0
NOTICING = 40
WORDS = (
    *(
        "star",
        "wars",
        "love",
        "death",
        "space",
        "night",
        "day",
        "man",
        "woman",
        "king",
        "queen",
        "city",
        "dark",
        "light",
    ),
    *(
        "blue",
        "red",
        "black",
        "white",
        "gold",
        "silver",
        "house",
        "garden",
        "river",
        "mountain",
        "sea",
        "island",
        "war",
    ),
    *(
        "peace",
        "story",
        "tale",
        "dream",
        "game",
        "life",
        "time",
        "world",
        "street",
        "park",
        "dog",
        "cat",
        "horse",
        "fire",
    ),
)
REPEATED = ("star wars", "love story", "the king", "space adventure", "dark city")


@dataclass
class Phase:
    """Searches of one phase: milliseconds of the new and the repeated queries, and how many were not answered."""

    name: str
    new_ms: list[float] = field(default_factory=list)
    repeated_ms: list[float] = field(default_factory=list)
    failed: int = 0
    hits: int = 0
    cache_causes: set[str] = field(default_factory=set)


class Searches:
    """Sends searches, each alone; new queries never come twice in a run."""

    def __init__(self, url: str, *, timeout_ms: int) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        self._timeout_ms = timeout_ms
        combinations = [" ".join(words) for words in itertools.permutations(WORDS, 3)]
        random.Random(SEED).shuffle(combinations)  # noqa: S311 - a sample, not a secret
        self._new = iter(combinations)

    def run(self, phase: Phase, count: int) -> Phase:
        """Send *count* new and as many repeated queries, in turns; note them in *phase*."""
        for number in range(count):
            self._timed(next(self._new), phase, phase.new_ms)
            self._timed(REPEATED[number % len(REPEATED)], phase, phase.repeated_ms)
        return phase

    def cache_is_well(self) -> bool:
        """Whether a search uses Redis, and has its answer kept."""
        answers = [self._ask(query) for query in (*REPEATED, *REPEATED)]
        return all(answer.is_success and "detail=" not in answer.headers["cache-status"] for answer in answers)

    def _ask(self, query: str) -> httpx.Response:
        return self._client.get("/v1/search", params={"q": query, "timeout_ms": str(self._timeout_ms)})

    def _timed(self, query: str, phase: Phase, times: list[float]) -> None:
        started = time.perf_counter()
        answer = self._ask(query)
        times.append((time.perf_counter() - started) * 1000)
        if not answer.is_success or not answer.headers.get("cache-status"):
            phase.failed += 1
            return
        phase.hits += "; hit" in answer.headers["cache-status"]
        causes = (stage["cause"] for stage in answer.json()["stages"] if stage["name"] == "cache" and stage["cause"])
        phase.cache_causes.update(causes)


@contextlib.contextmanager
def killed(stack: LocalStack) -> Iterator[None]:
    """End the stack's Valkey with ``kill -9``, and have nobody start it again until the block ends."""
    record = stack.running()
    with frozen([record.supervisor.pid], alone=True):
        kill([record.parts["valkey"].process.pid])
        yield


@contextlib.contextmanager
def stopped(stack: LocalStack) -> Iterator[None]:
    """Freeze the stack's Valkey until the block ends."""
    with frozen([stack.running().parts["valkey"].process.pid]):
        yield


def main() -> int:
    """Measure and print the table; 1 where a search was not answered or the cache did not come back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state-dir", type=Path, default=None, help="of the stack [default: as shortlist's]")
    parser.add_argument("--url", default=None, help="of its gateway [default: as the stack says]")
    parser.add_argument("--searches", type=int, default=200, help="new queries a phase, and as many repeated ones")
    parser.add_argument("--timeout-ms", type=int, default=5000, help="the deadline of each search")
    flags = parser.parse_args()
    stack = LocalStack(locate(flags.state_dir)[0])
    searches = Searches(flags.url or stack.running().url, timeout_ms=flags.timeout_ms)

    phases: list[Phase] = []
    searches.run(Phase("warm-up"), NOTICING)
    phases.append(searches.run(Phase("healthy"), flags.searches))
    came_back = True
    for name, fault in (("killed", killed), ("frozen", stopped)):
        with fault(stack):
            phases.append(searches.run(Phase(f"{name}: the first"), NOTICING))
            phases.append(searches.run(Phase(name), flags.searches))
        came_back &= wait_until(searches.cache_is_well, timeout_s=RETURN_S, poll_s=1.0)
        phases.append(searches.run(Phase(f"returned ({name})"), flags.searches))
    sys.stdout.write(table(phases))
    return int(not came_back or any(phase.failed for phase in phases))


def table(phases: list[Phase]) -> str:
    """Return the phases as a table, each beside the healthy one."""
    healthy = next(phase for phase in phases if phase.name == "healthy")
    lines = [
        "| Redis | new p50 | p95 | ratio of p50 | repeated p50 | p95 | ratio of p50 | kept ones | failed | cause |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for phase in phases:
        cells = [phase.name]
        for times, base in ((phase.new_ms, healthy.new_ms), (phase.repeated_ms, healthy.repeated_ms)):
            p50, p95 = statistics.median(times), quantile(times, 0.95)
            cells += [f"{p50:.0f}", f"{p95:.0f}", f"{p50 / statistics.median(base):.2f}"]
        causes = ", ".join(sorted(phase.cache_causes)) or "ok"
        cells += [str(phase.hits), str(phase.failed), causes]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def quantile(times: list[float], share: float) -> float:
    """Return the least time that *share* of *times* do not exceed."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, round(share * len(ordered)))]


if __name__ == "__main__":
    raise SystemExit(main())
