from __future__ import annotations

from contextlib import ExitStack
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from storage.routing import PRIMARY, ReplicaGate, Route, Router, RoutingRules

LIMIT_MS = 60_000.0
RULES = RoutingRules(lag_limit_ms=LIMIT_MS, return_after=5, good_probes=3, diverted_reads=2)
LAGS = st.one_of(st.none(), st.floats(min_value=0, max_value=4 * LIMIT_MS))
PROBES = st.one_of(LAGS, st.just("failed"))


def measured(*lags: float | None) -> ReplicaGate:
    gate = ReplicaGate(RULES)
    for lag in lags:
        gate.measured(lag)
    return gate


def router(**lags: float | str | None) -> Router:
    """A router over replicas as their last probe found them."""
    made = Router(lags, RULES)
    for name, lag in lags.items():
        if isinstance(lag, str):
            made.gates[name].failed()
        else:
            made.gates[name].measured(lag)
    return made


def plan(made: Router, *, primary_answers: bool = True) -> list[Route]:
    """Where a read goes that everybody fails."""
    routes: list[Route] = []
    while route := made.next_route([route.name for route in routes], primary_answers=primary_answers):
        routes.append(route)
    return routes


class TestReplicaGate:
    def test_a_replica_beyond_the_limit_is_left_at_once(self) -> None:
        assert not measured(3.0, LIMIT_MS + 1).usable

    def test_it_returns_when_it_was_well_below_the_limit_several_times_in_a_row(self) -> None:
        gate = measured(LIMIT_MS + 1, *[LIMIT_MS / 2] * 4)
        assert not gate.usable
        gate.measured(LIMIT_MS / 2)
        assert gate.usable

    def test_just_below_the_limit_is_not_caught_up(self) -> None:
        assert not measured(LIMIT_MS + 1, *[LIMIT_MS - 1] * 100).usable

    def test_a_relapse_starts_the_count_again(self) -> None:
        assert not measured(LIMIT_MS + 1, 1, 1, 1, 1, LIMIT_MS - 1, 1, 1, 1, 1).usable

    def test_an_unknown_lag_changes_no_mind(self) -> None:
        assert measured(1.0, None, None).usable
        assert not measured(LIMIT_MS + 1, *[None] * 100).usable

    def test_a_replica_that_failed_returns_after_a_few_probes_in_a_row(self) -> None:
        gate = measured(1.0)
        gate.failed()
        usable = []
        for probe in (1.0, 1.0, "failed", 1.0, 1.0, 1.0):
            gate.failed() if probe == "failed" else gate.measured(1.0)
            usable.append(gate.usable)
        assert usable == [False, False, False, False, False, True]

    def test_the_first_probe_of_a_process_counts(self) -> None:
        gate = ReplicaGate(RULES)
        gate.failed()
        gate.measured(1.0)
        assert gate.usable

    @given(st.lists(LAGS, max_size=200))
    def test_no_noise_makes_it_change_its_mind_twice_within_a_few_measurements(self, lags: list[float | None]) -> None:
        gate = ReplicaGate(RULES)
        turns = []
        known = [lag for lag in lags if lag is not None]
        for number, lag in enumerate(known):
            before = gate.lagging
            gate.measured(lag)
            if gate.lagging != before:
                turns.append(number)
        assert all(later - earlier >= RULES.return_after for earlier, later in pairwise(turns))

    @given(st.lists(PROBES, max_size=200))
    def test_a_usable_replica_was_good_when_it_was_last_probed(self, probes: list[float | str | None]) -> None:
        gate = ReplicaGate(RULES)
        for probe in probes:
            gate.failed() if isinstance(probe, str) else gate.measured(probe)
            assert not (gate.usable and isinstance(probe, str))

    @given(st.lists(PROBES, max_size=50))
    def test_a_replica_that_stays_well_is_read_from_again(self, probes: list[float | str | None]) -> None:
        gate = ReplicaGate(RULES)
        for probe in probes:
            gate.failed() if isinstance(probe, str) else gate.measured(probe)
        for _ in range(2 * RULES.return_after):
            gate.measured(1.0)
        assert gate.usable

    @given(st.lists(PROBES, max_size=50))
    def test_a_replica_that_stays_behind_is_left(self, probes: list[float | str | None]) -> None:
        gate = ReplicaGate(RULES)
        for probe in probes:
            gate.failed() if isinstance(probe, str) else gate.measured(probe)
        for _ in range(2 * RULES.return_after):
            gate.measured(LIMIT_MS + 1)
        assert not gate.usable


class TestRouter:
    def test_the_replica_that_lags_least_is_read_first_then_the_others_then_the_primary(self) -> None:
        assert plan(router(a=30.0, b=2.0)) == [Route("b"), Route("a"), Route(PRIMARY, "unavailable")]

    def test_without_replicas_the_primary_is_no_diversion(self) -> None:
        assert plan(router()) == [Route(PRIMARY)]

    def test_a_lagging_replica_is_left_for_another(self) -> None:
        assert plan(router(a=LIMIT_MS + 1, b=2.0))[0] == Route("b")

    def test_when_every_replica_lags_the_primary_answers_and_the_least_stale_stands_by(self) -> None:
        expected = [Route(PRIMARY, "replica_lag"), Route("b", stale=True), Route("a", stale=True)]
        assert plan(router(a=LIMIT_MS + 2, b=LIMIT_MS + 1)) == expected

    def test_dead_replicas_are_asked_last_of_all(self) -> None:
        assert plan(router(a="failed")) == [Route(PRIMARY, "unavailable"), Route("a")]

    def test_a_lagging_replica_comes_before_a_primary_that_does_not_answer(self) -> None:
        routes = plan(router(a=LIMIT_MS + 1), primary_answers=False)
        assert routes == [Route("a", stale=True), Route(PRIMARY, "unavailable")]

    def test_beyond_so_many_diverted_reads_at_once_the_answer_is_stale(self) -> None:
        lagging = router(a=LIMIT_MS + 1)
        with ExitStack() as running:
            for _ in range(RULES.diverted_reads):
                route = lagging.next_route([], primary_answers=True)
                assert route == Route(PRIMARY, "replica_lag")
                running.enter_context(lagging.running(route))
            assert lagging.next_route([], primary_answers=True) == Route("a", stale=True)
        assert lagging.next_route([], primary_answers=True) == Route(PRIMARY, "replica_lag")

    def test_a_read_that_no_replica_may_answer_counts_among_the_diverted_and_is_refused_beyond_them(self) -> None:
        lagging = router(a=LIMIT_MS + 1, b="failed")
        with ExitStack() as running:
            for _ in range(RULES.diverted_reads):
                route = lagging.primary_route()
                assert route == Route(PRIMARY, "replica_lag")
                running.enter_context(lagging.running(route))
            assert lagging.primary_route() is None
            assert lagging.next_route([], primary_answers=True) == Route("a", stale=True)
        assert lagging.primary_route() == Route(PRIMARY, "replica_lag")

    def test_while_a_replica_is_usable_or_all_are_dead_such_reads_are_not_counted(self) -> None:
        expected_of = [
            (router(a=1.0), Route(PRIMARY)),
            (router(), Route(PRIMARY)),
            (router(a="failed"), Route(PRIMARY, "unavailable")),
        ]
        for made, expected in expected_of:
            with ExitStack() as running:
                for _ in range(10 * RULES.diverted_reads):
                    route = made.primary_route()
                    assert route == expected
                    running.enter_context(made.running(route))

    def test_reads_of_dead_replicas_are_bounded_by_the_pool_alone(self) -> None:
        dead = router(a="failed")
        with ExitStack() as running:
            for _ in range(10 * RULES.diverted_reads):
                route = dead.next_route([], primary_answers=True)
                assert route == Route(PRIMARY, "unavailable")
                running.enter_context(dead.running(route))

    @given(st.dictionaries(st.sampled_from("abc"), PROBES), st.booleans())
    def test_every_server_is_tried_once_before_a_read_fails(
        self, probes: dict[str, float | str | None], primary_answers: bool
    ) -> None:
        routes = plan(router(**probes), primary_answers=primary_answers)
        assert sorted(route.name for route in routes) == sorted([*probes, PRIMARY])

    @given(st.dictionaries(st.sampled_from("abc"), PROBES), st.integers(0, 5))
    def test_the_primary_never_runs_more_diverted_reads_than_allowed(
        self, probes: dict[str, float | str | None], readers: int
    ) -> None:
        made = router(**probes)
        with ExitStack() as running:
            diverted = 0
            for _ in range(readers):
                route = made.next_route([], primary_answers=True)
                assert route is not None
                running.enter_context(made.running(route))
                diverted += route.diverted == "replica_lag"
            assert diverted <= RULES.diverted_reads
