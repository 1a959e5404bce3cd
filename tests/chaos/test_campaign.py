from __future__ import annotations

from itertools import islice

import pytest

from bench.chaos.campaign import RandomRun, drawn
from bench.chaos.fault import Fault
from bench.chaos.faults import BY_NAME, FAULTS, PAIRS, RANDOM, both
from bench.chaos.report import random_report


class TestDrawn:
    def test_a_seed_draws_the_same_faults_again_and_another_one_others(self) -> None:
        faults = [BY_NAME[name] for name in RANDOM]
        first, again, other = (list(islice(drawn(faults, seed), 50)) for seed in (1, 1, 2))
        assert first == again
        assert first != other

    def test_no_part_is_ended_more_often_than_it_is_started_again(self) -> None:
        now_s = 0.0
        ended_s: dict[str, list[float]] = {}
        servers = [BY_NAME[name] for name in RANDOM if BY_NAME[name].group in {"server", "node"}]
        for act in islice(drawn(servers, seed=3), 200):
            now_s += act.pause_s + act.lasts_s
            for part in act.ends:
                ended_s.setdefault(part, []).append(now_s)
        assert len(ended_s) == 4
        for moments in ended_s.values():
            assert all(later - earlier > 300 for earlier, later in zip(moments, moments[5:], strict=False))


class TestRandomRun:
    @pytest.mark.parametrize(("done", "kept"), [(2, False), (3, True)])
    def test_one_that_did_less_than_was_asked_for_proves_nothing(self, done: int, kept: bool) -> None:
        run = RandomRun(
            number=3,
            seed=7,
            done=["kill-redis"] * done,
            skipped=(),
            acknowledged=10,
            lost=(),
            twice=(),
            reads=10,
            failed=0,
            malformed=(),
            recovered=True,
            missing=(),
            seconds=1.0,
        )
        assert run.kept == kept
        assert f"{done} of 3 faults" in random_report(run)


class TestFaults:
    @pytest.mark.parametrize("name", ["lose-redis", "freeze-redis"])
    def test_redis_is_missed_only_where_the_cache_is_named(self, name: str) -> None:
        assert {stage for stage, _ in BY_NAME[name].visible.says} == {"cache"}
        assert ("hydrate", "timeout") in BY_NAME[name].visible.may_say

    @pytest.mark.parametrize("name", ["lose-replica", "freeze-replica"])
    def test_a_replica_is_missed_only_where_what_always_asks_it_got_no_answer(self, name: str) -> None:
        causes = ("unavailable", "timeout", "circuit_open")
        assert BY_NAME[name].visible.says == {(stage, cause) for stage in ("keyword", "hydrate") for cause in causes}

    @pytest.mark.parametrize(
        "fault", [fault for fault in FAULTS if fault.name.startswith("corrupt-")], ids=lambda each: str(each.name)
    )
    def test_a_flipped_bit_is_called_corrupt_and_nothing_else(self, fault: Fault) -> None:
        assert {cause for _, cause in fault.visible.says} == {"artifact_corrupt"}

    def test_each_has_a_name_of_its_own(self) -> None:
        assert len(BY_NAME) == len(FAULTS)

    def test_two_at_once_show_what_each_shows_alone(self) -> None:
        for names in PAIRS:
            first, second = (BY_NAME[name] for name in names)
            assert first.visible.pairs | second.visible.pairs <= both(first, second).visible.pairs
