"""
How soon a written product is found, while searches are served: ``python -m bench.freshness --url http://127.0.0.1:8000``.

Products are written one after the other, each is looked for until it is found, and deleted. Times count from the
acknowledgement to the answer that shows the product. Searches run beside at a fixed rate, started by the clock whether
earlier ones were answered or not, over a hundred queries of which few are frequent (Zipf); the looks at the products,
50 ms after one another, come on top of them. Ends with status 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import statistics
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

SEED = 7
POLL_S = 0.05
GIVE_UP_S = 15.0
LONGEST_PAUSE_S = 0.4
KEYWORD_TARGET_MS = 1000.0
TOKEN_TARGET_MS = 0.0
MEANING_TARGET_MS = 2000.0
TOKEN = "X-Consistency-Token"  # noqa: S105 - the header's name

MEANINGS = (
    ("Stainless garlic press", "tool for crushing cloves of garlic"),
    ("Cordless hammer drill", "battery powered tool for making holes in walls"),
    ("Goose feather duvet", "down comforter, warm bedding"),
    ("Children's balance bike", "toddler bicycle without pedals"),
    ("Cast iron frying pan", "heavy skillet for searing steak"),
    ("Trekking tent for two", "shelter for camping in the mountains"),
    ("Noise cancelling headphones", "earphones that block out sound"),
    ("Espresso machine", "appliance to brew strong Italian coffee"),
    ("Robot lawn mower", "cuts the grass by itself, automatic mowing"),
    ("Beekeeper's veil", "protects the face from bee stings"),
)


@dataclass
class Sightings:
    """What became of the writes of one kind: milliseconds until each was found."""

    name: str
    target_ms: float
    found_ms: list[float] = field(default_factory=list)
    never: int = 0

    @property
    def met(self) -> bool:
        """Whether the target holds: all found, the 95th percentile in time."""
        return not self.never and bool(self.found_ms) and percentile(self.found_ms, 95) <= self.target_ms

    def row(self) -> str:
        """One line of the table."""
        if not self.found_ms:
            return f"{self.name:<32}{0:>7}{'-':>10}{'-':>10}{'-':>10}{self.never:>8}   missed"
        p50, p95 = percentile(self.found_ms, 50), percentile(self.found_ms, 95)
        verdict = f"{'met' if self.met else 'missed'} ({self.target_ms:g} ms)"
        return (
            f"{self.name:<32}{len(self.found_ms):>7}{p50:>10.1f}{p95:>10.1f}{max(self.found_ms):>10.1f}"
            f"{self.never:>8}   {verdict}"
        )


@dataclass
class Load:
    """The searches served beside."""

    asked: int = 0
    answered_ms: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    degraded: int = 0
    seconds: float = 0.0

    def row(self, rate: float) -> str:
        """One line under the table."""
        times = self.answered_ms or [float("nan")]
        return (
            f"searches beside: {rate:g} a second asked, {len(self.answered_ms) / self.seconds:.1f} answered; "
            f"p50 {percentile(times, 50):.1f} ms, p95 {percentile(times, 95):.1f} ms; "
            f"{self.errors.total()} errors{_named(self.errors)}, {self.degraded} degraded"
        )


class Bench:
    """The bench on one stack; what it writes, it deletes."""

    def __init__(self, client: httpx.AsyncClient, *, until: float) -> None:
        self._client = client
        self._until = until
        self._random = random.Random()  # noqa: S311 - pauses and invented words
        self._meanings = itertools.cycle(MEANINGS)
        self._left: set[str] = set()

    async def run(self) -> list[Sightings]:
        """Write product after product until the time is up: each kind of look in turn, one at a time."""
        kinds = [
            (Sightings("by keyword", KEYWORD_TARGET_MS), self._by_keyword),
            (Sightings("by keyword, with the token", TOKEN_TARGET_MS), self._with_the_token),
            (Sightings("by meaning", MEANING_TARGET_MS), self._by_meaning),
        ]
        looks = itertools.cycle(kinds)
        while time.perf_counter() < self._until:
            product_id = f"bench-{uuid.uuid4().hex}"
            self._left.add(product_id)
            sightings, look = next(looks)
            await look(sightings, product_id)
            await self._client.delete(f"/v1/products/{product_id}")
            self._left.discard(product_id)
            # At odd times, so that no period of the service is hit again and again.
            await asyncio.sleep(self._random.uniform(0, LONGEST_PAUSE_S))
        return [sightings for sightings, _ in kinds]

    async def _by_keyword(self, sightings: Sightings, product_id: str) -> None:
        """Look for the product by a word that no other has."""
        word = self._word()
        acknowledged, _ = await self._write(product_id, f"{word} of the bench")
        await self._look(sightings, product_id, acknowledged, {"q": word, "mode": "keyword"})

    async def _with_the_token(self, sightings: Sightings, product_id: str) -> None:
        """The same, the read carrying the write's token: 0 ms where the first answer shows the product."""
        word = self._word()
        acknowledged, token = await self._write(product_id, f"{word} of the bench")
        if token is None:
            sightings.never += 1
            return
        await self._look(sightings, product_id, acknowledged, {"q": word, "mode": "keyword"}, token=token)

    async def _by_meaning(self, sightings: Sightings, product_id: str) -> None:
        """Look for the product by what it is, in other words."""
        title, query = next(self._meanings)
        acknowledged, _ = await self._write(product_id, title)
        await self._look(sightings, product_id, acknowledged, {"q": query, "mode": "semantic", "limit": "100"})

    async def clean_up(self) -> None:
        """Delete what is left."""
        for product_id in sorted(self._left):
            await self._client.delete(f"/v1/products/{product_id}")
        self._left.clear()

    async def _write(self, product_id: str, title: str) -> tuple[float, str | None]:
        response = await self._client.put(f"/v1/products/{product_id}", json={"title": title})
        response.raise_for_status()
        return time.perf_counter(), response.headers.get(TOKEN)

    async def _look(
        self,
        sightings: Sightings,
        product_id: str,
        acknowledged: float,
        query: dict[str, str],
        *,
        token: str | None = None,
    ) -> None:
        headers = {} if token is None else {TOKEN: token}
        first = True
        while time.perf_counter() - acknowledged < GIVE_UP_S:
            response = await self._client.get("/v1/search", params={**query, "timeout_ms": "5000"}, headers=headers)
            seen = time.perf_counter()
            if response.status_code == httpx.codes.OK and product_id in _ids_of(response):
                at_once = first and token is not None
                sightings.found_ms.append(0.0 if at_once else (seen - acknowledged) * 1000)
                return
            first = False
            await asyncio.sleep(POLL_S)
        sightings.never += 1

    def _word(self) -> str:
        return "zq" + "".join(self._random.choices("bcdfghjklmnpqrstvwxz", k=10))


async def searches(client: httpx.AsyncClient, queries: Sequence[str], *, rate: float, until: float) -> Load:
    """Search *rate* times a second until the time is up, each search started when its moment has come."""
    load = Load()
    # Few queries are frequent, most are rare, as in a shop.
    weights = [1 / place for place in range(1, len(queries) + 1)]
    order = random.Random(SEED).choices(queries, weights, k=round(rate * (until - time.perf_counter())) + 1)  # noqa: S311
    started = time.perf_counter()
    running: set[asyncio.Task[None]] = set()
    while (moment := started + load.asked / rate) < until:
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        task = asyncio.create_task(_search(client, order[load.asked % len(order)], load))
        running.add(task)
        task.add_done_callback(running.discard)
        load.asked += 1
    await asyncio.gather(*running)
    load.seconds = time.perf_counter() - started
    return load


async def _search(client: httpx.AsyncClient, query: str, load: Load) -> None:
    began = time.perf_counter()
    try:
        response = await client.get("/v1/search", params={"q": query})
    except httpx.HTTPError as error:
        load.errors[type(error).__name__] += 1
        return
    if response.status_code != httpx.codes.OK:
        load.errors[str(response.status_code)] += 1
        return
    load.answered_ms.append((time.perf_counter() - began) * 1000)
    load.degraded += "x-degraded" in response.headers


async def queries_of(client: httpx.AsyncClient) -> list[str]:
    """What to search for: titles of popular products, two words of each."""
    response = await client.get("/v1/recommendations", params={"limit": "100", "timeout_ms": "10000"})
    response.raise_for_status()
    titles = [hit["product"]["title"] for hit in response.json()["hits"] if hit["product"]]
    return [" ".join(title.split()[:2]) for title in titles] or ["anything"]


def percentile(values: Sequence[float], percent: int) -> float:
    """The *percent*-th percentile of *values*, which must not be empty."""
    return values[0] if len(values) == 1 else statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _named(errors: Counter[str]) -> str:
    return f" ({', '.join(f'{count} x {name}' for name, count in errors.most_common())})" if errors else ""


def _ids_of(response: httpx.Response) -> set[str]:
    return {hit["id"] for hit in response.json()["hits"]}


@asynccontextmanager
async def bench(url: str, until: float) -> AsyncIterator[tuple[httpx.AsyncClient, Bench]]:
    """A client and a bench that cleans up after itself."""
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as client:
        running = Bench(client, until=until)
        try:
            yield client, running
        finally:
            await running.clean_up()


async def run(url: str, *, seconds: float, rate: float) -> bool:
    """Run for *seconds*, print the table, return whether all targets are met."""
    until = time.perf_counter() + seconds
    async with bench(url, until) as (client, running):
        queries = await queries_of(client)
        sightings, load = await asyncio.gather(running.run(), searches(client, queries, rate=rate, until=until))
    print(f"{'found':<32}{'writes':>7}{'p50 ms':>10}{'p95 ms':>10}{'worst ms':>10}{'never':>8}   target for p95")
    for one in sightings:
        print(one.row())
    print(load.row(rate))
    return all(one.met for one in sightings)


def main() -> int:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description="Measure how soon a written product is found.")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running gateway")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long")
    parser.add_argument("--rate", type=float, default=50.0, help="searches a second beside")
    flags = parser.parse_args()
    return 0 if asyncio.run(run(flags.url, seconds=flags.seconds, rate=flags.rate)) else 1


if __name__ == "__main__":
    sys.exit(main())
