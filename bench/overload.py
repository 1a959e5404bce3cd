"""
What becomes of requests beyond capacity: ``python -m bench.overload --url http://127.0.0.1:8000``.

On the machine of a running stack, with searches that no cache holds: first one client alone, for the times without
load; then a few clients, each sending as soon as it is answered, for the capacity; then as many times the capacity as
asked for, started by the clock whether earlier ones were answered or not. Times count from the moment at which a
request was due. Memory is that of the processes that serve, shared pages in parts. Ends with status 1 where a target is
missed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import httpx
import orjson

from bench.freshness import percentile, queries_of
from bench.open_loop import Generator, Reply
from bench.serving_memory import serving_memory

SEED = 11
OK, REFUSED = 200, 429
TARGETS = {"times": 3.0, "goodput": 0.8, "shed_ms": 10.0, "memory": 1.1}
PROBLEM = b"content-type: application/problem+json"


@dataclass(frozen=True, slots=True)
class Phase:
    """What came of one phase."""

    name: str
    seconds: float
    replies: Sequence[Reply]
    client_cpu: float
    most_open: int

    def ms(self, *statuses: int) -> list[float]:
        """Milliseconds of the replies with one of *statuses*."""
        return [reply.ms for reply in self.replies if reply.status in statuses] or [float("nan")]

    @property
    def goodput(self) -> float:
        """Answers a second."""
        return self._count(OK) / self.seconds

    @property
    def errors(self) -> Counter[str]:
        """What is neither an answer nor a refusal as it should be."""
        return Counter(wrong for reply in self.replies if (wrong := _wrong(reply)) is not None)

    def row(self) -> str:
        """One line of the table."""
        answered, refused = self.ms(OK), self.ms(REFUSED)
        asked = len(self.replies)
        degraded = sum(b"\r\nx-degraded:" in reply.head for reply in self.replies if reply.status == OK)
        return (
            f"{self.name:<22}{asked / self.seconds:>8.0f}{self.goodput:>9.1f}{self._count(REFUSED) / asked:>8.1%}"
            f"{percentile(answered, 50):>9.1f}{percentile(answered, 95):>9.1f}{percentile(answered, 99):>9.1f}"
            f"{percentile(refused, 50):>10.1f}{percentile(refused, 99):>9.1f}"
            f"{degraded:>9}{self.errors.total():>8}{self.client_cpu:>9.0%}{self.most_open:>7}"
        )

    def _count(self, status: int) -> int:
        return sum(reply.status == status for reply in self.replies)


HEADER = (
    f"{'phase':<22}{'asked/s':>8}{'done/s':>9}{'shed':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}"
    f"{'429 p50':>10}{'429 p99':>9}{'degraded':>9}{'errors':>8}{'client':>9}{'conns':>7}"
)


class Searches:
    """Searches that no cache holds: words of real titles, and a price that no request had before."""

    def __init__(self, host: str, queries: Sequence[str]) -> None:
        self._host = host
        self._random = random.Random(SEED)  # noqa: S311 - which words to search for
        self._words = sorted({word for query in queries for word in query.split()})
        self._numbers = itertools.count(int(time.time() * 1000) % 1_000_000_000)

    def __call__(self, _: int) -> bytes:
        """Return the bytes of the next one."""
        words = " ".join(self._random.choices(self._words, k=2))
        path = f"/v1/search?q={quote(words)}&price_max={1_000_000 + next(self._numbers)}"
        return f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode()


class Bench:
    """The phases on one stack."""

    def __init__(self, host: str, port: int, request: Callable[[int], bytes]) -> None:
        self._host, self._port, self._request = host, port, request

    async def in_ring(self, name: str, clients: int, seconds: float) -> Phase:
        """Run *clients* that each wait for their answers."""
        return await self._phase(name, lambda generator: generator.in_ring(clients, seconds, self._request))

    async def at_rate(self, name: str, rate: float, seconds: float) -> Phase:
        """Run *rate* requests a second."""
        return await self._phase(name, lambda generator: generator.at_rate(rate, seconds, self._request))

    async def _phase(self, name: str, run: Callable[[Generator], object]) -> Phase:
        generator = Generator(self._host, self._port)
        began, cpu_s = time.perf_counter(), _cpu_s()
        await run(generator)  # type: ignore[misc]
        seconds = time.perf_counter() - began
        generator.close()
        phase = Phase(name, seconds, generator.replies, (_cpu_s() - cpu_s) / seconds, generator.most_open)
        print(phase.row(), flush=True)
        return phase


async def run(url: str, *, seconds: float, times: float, clients: Sequence[int]) -> bool:
    """Run all phases, print the table, return whether all targets are met."""
    host, port = urlsplit(url).hostname or "127.0.0.1", urlsplit(url).port or 80
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        queries = await queries_of(client)
    bench = Bench(host, port, Searches(host, queries))
    print(HEADER)
    await bench.in_ring("warming up", 2, 5)
    memory = [serving_memory(port)]
    alone = await bench.in_ring("1 client", 1, max(10.0, seconds / 4))
    rings = [await bench.in_ring(f"{number} clients", number, max(10.0, seconds / 6)) for number in clients]
    capacity = max([alone.goodput, *(ring.goodput for ring in rings)])
    flood, during = await asyncio.gather(
        bench.at_rate(f"{times:g} x capacity", times * capacity, seconds), _memory_during(port, seconds)
    )
    await asyncio.sleep(3)
    after = await bench.in_ring("1 client again", 1, max(10.0, seconds / 6))
    memory += [during, serving_memory(port)]
    _print_memory(memory)
    for name, count in (flood.errors + after.errors).most_common():
        print(f"error: {count} x {name}")
    return _verdict(alone, flood, capacity, memory)


def _verdict(alone: Phase, flood: Phase, capacity: float, memory: Sequence[dict[str, tuple[int, float]]]) -> bool:
    before, during, after = (sum(size for _, size in one.values()) for one in memory)
    found = {
        "times": percentile(flood.ms(OK), 99) / percentile(alone.ms(OK), 99),
        "goodput": flood.goodput / capacity,
        "shed_ms": percentile(flood.ms(REFUSED), 50),
        "memory": max(during, after) / before,
    }
    print(f"capacity {capacity:.1f} a second")
    print(f"p99 of answers under the flood / alone: {found['times']:.2f} (target at most {TARGETS['times']:g})")
    print(f"answers a second under the flood / capacity: {found['goodput']:.2f} (at least {TARGETS['goodput']:g})")
    print(f"refusals, median: {found['shed_ms']:.1f} ms (below {TARGETS['shed_ms']:g})")
    print(
        f"memory: {before:.0f} MiB before, {during:.0f} during, {after:.0f} after (at most {TARGETS['memory']:g} times)"
    )
    well = found["goodput"] >= TARGETS["goodput"] and not flood.errors
    return well and all(found[name] <= TARGETS[name] for name in ("times", "shed_ms", "memory"))


async def _memory_during(port: int, seconds: float) -> dict[str, tuple[int, float]]:
    await asyncio.sleep(seconds * 0.9)
    return await asyncio.to_thread(serving_memory, port)


def _print_memory(memory: Sequence[dict[str, tuple[int, float]]]) -> None:
    print(f"{'memory, MiB':<22}{'before':>9}{'during':>9}{'after':>9}")
    for kind in sorted({kind for one in memory for kind in one}):
        sizes = "".join(f"{one.get(kind, (0, 0.0))[1]:>9.0f}" for one in memory)
        print(f"{memory[0].get(kind, (0, 0.0))[0]} {kind:<20}{sizes}")


def _wrong(reply: Reply) -> str | None:
    if reply.status == 0:
        return reply.head.decode(errors="replace")
    if reply.status == OK:
        return None
    if reply.status != REFUSED:
        return f"status {reply.status}: {reply.body[:100]!r}"
    body = orjson.loads(reply.body) if PROBLEM in reply.head else {}
    sound = body.get("code") == "overloaded" and b"\r\nretry-after:" in reply.head
    return None if sound else f"429 that is no problem document: {reply.body[:100]!r}"


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description="Measure what becomes of requests beyond capacity.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running gateway on this machine")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the flood lasts")
    parser.add_argument("--times", type=float, default=5.0, help="times the capacity")
    parser.add_argument("--clients", default="2,4,8", help="how many clients to look for the capacity with")
    flags = parser.parse_args()
    clients = [int(number) for number in flags.clients.split(",")]
    return 0 if asyncio.run(run(flags.url, seconds=flags.seconds, times=flags.times, clients=clients)) else 1


if __name__ == "__main__":
    sys.exit(main())
