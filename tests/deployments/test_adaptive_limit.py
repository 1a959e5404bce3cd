from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.adaptive_limit import AdaptiveLimit, Evidence, LimitRules
from tests.deployments.queue_simulation import CAPACITY, Conditions, Simulation

RULES = LimitRules(floor=2, first=8, ceiling=32)
SEEDS = (1, 2, 3)


class TestInvariants:
    @given(
        st.lists(
            st.tuples(
                st.floats(0, 2),
                st.booleans(),
                st.sampled_from(["answered", "waited", "refused", "none"]),
            ),
            max_size=300,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_the_limit_stays_within_its_bounds_and_holds(self, history: list[tuple[float, bool, Evidence]]) -> None:
        now = 0.0
        limit = AdaptiveLimit(RULES, clock=lambda: now)
        taken: list[float] = []
        for pause_s, arrives, evidence in history:
            now += pause_s
            if arrives:
                before = limit.in_flight
                entered = limit.enter()
                assert (entered is None) == (before >= limit.limit)
                if entered is not None:
                    taken.append(entered)
            elif taken:
                limit.leave(taken.pop(0), evidence)
            assert limit.in_flight == len(taken)
            assert RULES.floor <= limit.limit <= RULES.ceiling

    @given(st.floats(0.001, 30), st.sampled_from(["answered", "waited", "refused", "none"]))
    @settings(max_examples=50, deadline=None)
    def test_one_client_at_a_time_is_never_refused(self, took_s: float, evidence: Evidence) -> None:
        now = 0.0
        limit = AdaptiveLimit(RULES, clock=lambda: now)
        for _ in range(200):
            entered = limit.enter()
            assert entered is not None
            now += took_s
            limit.leave(entered, evidence)


class TestTarget:
    @pytest.mark.parametrize(
        ("share_of_others_s", "busy", "target_s"), [(0.0, 0.5, 0.45), (0.15, 0.5, 0.075), (0.0, 0.95, 0.075)]
    )
    def test_long_times_at_the_floor_count_if_fewer_at_once_were_fewer_answers(
        self, share_of_others_s: float, busy: float, target_s: float
    ) -> None:
        """150 ms each, whoever else is there, against 150 ms for each who is there: a slow part, a busy one."""
        now = 0.0
        limit = AdaptiveLimit(LimitRules(), clock=lambda: now, busy=lambda: busy)
        for _ in range(100):
            moments = [moment for _ in range(3) if (moment := limit.enter()) is not None]
            now += 0.15 + share_of_others_s * (len(moments) - 1)
            for moment in moments:
                limit.leave(moment)
        assert limit.target_s == pytest.approx(target_s)


@pytest.mark.parametrize("seed", SEEDS)
class TestUnderLoad:
    def test_below_capacity_next_to_nothing_is_refused(self, seed: int) -> None:
        seen = Simulation(seed=seed).run(60, Conditions(rate=0.7 * CAPACITY))
        assert seen.shed < 0.005

    def test_at_five_times_capacity_goodput_stays_and_answers_keep_their_time(self, seed: int) -> None:
        unloaded = Simulation(seed=seed).run(60, Conditions(rate=0.1 * CAPACITY))
        simulation = Simulation(seed=seed)
        simulation.run(10, Conditions(rate=5 * CAPACITY))
        seen = simulation.run(60, Conditions(rate=5 * CAPACITY))
        assert seen.goodput > 0.9 * CAPACITY
        assert seen.percentile(0.99) < 4 * unloaded.percentile(0.99)

    def test_where_answers_take_long_without_load_the_target_follows(self, seed: int) -> None:
        """60 ms of work each: with the target of 100 ms alone, much capacity would lie idle."""
        simulation = Simulation(seed=seed, service_s=0.06)
        simulation.run(20, Conditions(rate=0.7 * 2 / 0.06))
        seen = simulation.run(60, Conditions(rate=0.7 * 2 / 0.06))
        assert seen.shed < 0.15

    def test_both_limits_take_their_share(self, seed: int) -> None:
        simulation = Simulation(seed=seed)
        simulation.run(60, Conditions(rate=5 * CAPACITY))
        low, high = sorted(one.limit for one in simulation.limits)
        assert high <= 3 * low

    def test_a_flood_that_makes_every_answer_late_is_load_after_two_windows(self, seed: int) -> None:
        """A limit that begins far too high: all time out, which alone could be a part that is down."""
        simulation = Simulation(seed=seed, rules=LimitRules(first=100))
        flood = Conditions(rate=5 * CAPACITY, patience_s=0.7)
        simulation.run(10, flood)
        seen = simulation.run(20, flood)
        assert seen.percentile(0.99) < 300

    def test_the_limit_comes_back_after_the_flood(self, seed: int) -> None:
        simulation = Simulation(seed=seed)
        simulation.run(20, Conditions(rate=5 * CAPACITY))
        simulation.run(20, Conditions(rate=0.5 * CAPACITY))
        assert all(one.limit >= 4 for one in simulation.limits)


@pytest.mark.parametrize("seed", SEEDS)
class TestUnderFaults:
    def test_a_part_that_is_slow_does_not_look_like_load_for_long(self, seed: int) -> None:
        simulation = Simulation(seed=seed)
        simulation.run(30, Conditions(rate=0.5 * CAPACITY))
        slow = Conditions(rate=0.5 * CAPACITY, slowness_s=0.3)
        simulation.run(15, slow)
        assert simulation.run(60, slow).shed < 0.1

    def test_nor_does_its_slowness_hide_load_once_it_is_well(self, seed: int) -> None:
        simulation = Simulation(seed=seed)
        simulation.run(60, Conditions(rate=0.5 * CAPACITY, slowness_s=0.3))
        flood = Conditions(rate=5 * CAPACITY)
        simulation.run(90, flood)
        seen = simulation.run(30, flood)
        assert seen.percentile(0.95) < 200
        assert seen.goodput > 0.9 * CAPACITY

    def test_a_part_that_does_not_answer_for_a_moment_costs_no_places(self, seed: int) -> None:
        """Until its breaker opens: no window of waits alone shrinks the limit."""
        simulation = Simulation(seed=seed)
        simulation.run(10, Conditions(rate=0.1 * CAPACITY))
        before = [one.limit for one in simulation.limits]
        simulation.run(1.5, Conditions(rate=0.1 * CAPACITY, slowness_s=0.7, patience_s=0.7))
        assert all(one.limit >= limit for one, limit in zip(simulation.limits, before, strict=True))
