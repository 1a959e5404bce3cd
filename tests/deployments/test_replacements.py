from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from deployments.replacements import Replacements, ReplacementWatch


def described(*replicas: str, status: str = "HEALTHY", wanted: int = 2) -> dict[str, dict[str, Any]]:
    """One deployment, as Serve describes it."""
    return {
        "ranking": {
            "status": status,
            "target_num_replicas": wanted,
            "replicas": [{"replica_id": name} for name in replicas],
        }
    }


def counted(*looks: dict[str, dict[str, Any]]) -> int:
    replacements = Replacements()
    for look in looks:
        replacements.look(look)
    return replacements.counts()["ranking"]


class TestReplacements:
    def test_the_first_look_counts_nothing(self) -> None:
        assert counted(described("a", "b")) == 0

    def test_one_that_took_anothers_place_counts(self) -> None:
        assert counted(described("a", "b"), described("b", "c")) == 1

    def test_one_that_is_replaced_in_two_steps_counts_once(self) -> None:
        unhealthy = described("b", status="UNHEALTHY")
        assert (
            counted(described("a", "b"), unhealthy, described("b", "c", status="UNHEALTHY"), described("b", "c")) == 1
        )

    def test_one_that_does_not_come_up_counts_each_time(self) -> None:
        looks = [described("b", name, status="UNHEALTHY") for name in "cdef"]
        assert counted(described("a", "b"), *looks) == 4

    def test_more_replicas_that_were_asked_for_do_not_count(self) -> None:
        assert counted(described("a", "b"), described("a", "b", "c", "d", wanted=4)) == 0

    def test_a_rollout_does_not_count(self) -> None:
        updating = described("b", "c", status="UPDATING")
        assert counted(described("a", "b"), updating, described("c", "d")) == 0

    def test_what_was_replaced_long_ago_is_forgotten(self) -> None:
        now = [0.0]
        replacements = Replacements(clock=lambda: now[0])
        replacements.look(described("a", "b"))
        replacements.look(described("b", "c"))
        now[0] = 601.0
        assert replacements.counts() == {"ranking": 0}
        assert [(sample.value, sample.tags) for sample in replacements.samples()] == [(0, {"part": "ranking"})]


class TestReplacementWatch:
    async def test_a_controller_that_fails_is_asked_again(self) -> None:
        noticed = asyncio.Event()
        answers: list[Any] = [RuntimeError("no controller"), described("a", "b"), KeyError("shortlist")]

        async def ask() -> Mapping[str, Mapping[str, Any]]:
            answer = answers.pop(0) if answers else described("b", "c")
            if isinstance(answer, Exception):
                raise answer
            if replacements.counts() == {"ranking": 1}:
                noticed.set()
            return dict(answer)

        replacements = Replacements()
        watch = ReplacementWatch(replacements, ask, period_s=0.01)
        watch.start()
        async with asyncio.timeout(10):
            await noticed.wait()
        assert watch.alive
        await watch.stop()
