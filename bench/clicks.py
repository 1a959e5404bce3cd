"""
Clicks to learn from: ``python -m bench.clicks --url http://127.0.0.1:8000 --answers 1000``, for a stack that has none.

Made-up users ask for recommendations and click one product of each answer: the likelier the more it has of one feature,
the less the further down it stands. Everything but the taste is real: answers are served and logged, clicks are sent as
events with the ``request_id`` of their answer. Not for a shop with users of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import sys
from collections.abc import Sequence
from typing import Any

import httpx

FEATURES = ("search", "cf", "popularity", "freshness")
AT_ONCE = 4
EVENTS_AT_ONCE = 100


def clicked(hits: Sequence[dict[str, Any]], feature: str, steepness: float, chance: random.Random) -> str:
    """Return the id of the product among *hits* that is clicked: in proportion to ``exp(steepness * value) / rank``."""
    weights = [math.exp(steepness * (hit["explain"]["features"].get(feature) or 0.0)) / hit["rank"] for hit in hits]
    return str(chance.choices([hit["id"] for hit in hits], weights)[0])


async def click(url: str, *, answers: int, users: int, feature: str, steepness: float, seed: int) -> int:
    """Ask for so many answers, send a click on each, and return how many clicks were taken."""
    chance = random.Random(seed)  # noqa: S311  made-up users
    asked = [str(chance.randint(1, users)) for _ in range(answers)]
    events: list[dict[str, str]] = []
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for start in range(0, answers, AT_ONCE):
            found = await asyncio.gather(*(_answer(client, user) for user in asked[start : start + AT_ONCE]))
            events += [
                {
                    "user_id": user,
                    "product_id": clicked(body["hits"], feature, steepness, chance),
                    "type": "click",
                    "request_id": body["request_id"],
                }
                for user, body in zip(asked[start:], found, strict=False)
                if len(body["hits"]) > 1
            ]
        return sum(
            [await _sent(client, events[at : at + EVENTS_AT_ONCE]) for at in range(0, len(events), EVENTS_AT_ONCE)]
        )


async def _answer(client: httpx.AsyncClient, user: str) -> dict[str, Any]:
    params = {"user_id": user, "explain": "true", "timeout_ms": "20000"}
    response = await client.get("/v1/recommendations", params=params)
    response.raise_for_status()
    body: dict[str, Any] = response.json()
    return body


async def _sent(client: httpx.AsyncClient, events: Sequence[dict[str, str]]) -> int:
    response = await client.post("/v1/events", json={"events": list(events)})
    response.raise_for_status()
    return int(response.json()["accepted"])


def main() -> None:
    """Read the flags, click, and say how often."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="of the graph (%(default)s)")
    parser.add_argument("--answers", type=int, default=1000, help="how many answers get a click (%(default)s)")
    parser.add_argument("--users", type=int, default=943, help="user ids go from 1 to this (%(default)s)")
    parser.add_argument("--feature", choices=FEATURES, default="popularity", help="what the users like (%(default)s)")
    parser.add_argument("--steepness", type=float, default=12.0, help="how much they like it (%(default)s)")
    parser.add_argument("--seed", type=int, default=7, help="start of the random numbers (%(default)s)")
    flags = parser.parse_args()
    wanted = {name: value for name, value in vars(flags).items() if name != "url"}
    try:
        taken = asyncio.run(click(flags.url, **wanted))
    except httpx.HTTPError as error:
        sys.exit(f"{flags.url}: {type(error).__name__}: {error}")
    print(f"{taken} clicks on the answers of {flags.url}")


if __name__ == "__main__":
    main()
