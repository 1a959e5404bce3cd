from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import takewhile
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from storage.circuit_breaker import CircuitBreaker, Permit, Transition
from storage.config import BreakerConfig
from storage.errors import CircuitOpen

RULES = BreakerConfig()
SHORT = BreakerConfig(window_s=4, minimum_volume=6, consecutive=3, open_s=3, half_open_share=0.25, probes_to_close=2)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker_at(clock: Clock, rules: BreakerConfig = RULES) -> tuple[CircuitBreaker, list[Transition]]:
    changes: list[Transition] = []
    return CircuitBreaker("shop", rules, clock=clock, on_change=changes.append), changes


def opened(clock: Clock, rules: BreakerConfig = RULES) -> CircuitBreaker:
    breaker, _ = breaker_at(clock, rules)
    for _ in range(rules.consecutive):
        breaker.admit().failed()
    assert breaker.state == "open"
    return breaker


def half_opened(clock: Clock, rules: BreakerConfig = RULES) -> CircuitBreaker:
    breaker = opened(clock, rules)
    clock.now += rules.open_s
    assert breaker.state == "half_open"
    return breaker


def checked(breaker: CircuitBreaker, *, ok: bool) -> None:
    probe = breaker.begin_background_probe()
    (probe.succeeded if ok else probe.failed)()


def admitted(breaker: CircuitBreaker) -> Permit | None:
    try:
        return breaker.admit()
    except CircuitOpen:
        return None


class TestClosed:
    def test_opens_after_five_failures_in_a_row(self) -> None:
        breaker, changes = breaker_at(Clock())
        for _ in range(4):
            breaker.admit().failed()
        assert breaker.state == "closed"
        breaker.admit().failed()
        assert [(change.before, change.after, change.consecutive) for change in changes] == [("closed", "open", 5)]

    def test_a_success_begins_the_row_anew(self) -> None:
        breaker, _ = breaker_at(Clock())
        for _ in range(3):
            for _ in range(4):
                breaker.admit().failed()
            for _ in range(8):
                breaker.admit().succeeded()
        assert breaker.state == "closed"

    def test_opens_when_half_of_a_minute_failed(self) -> None:
        breaker, changes = breaker_at(Clock())
        for _ in range(10):
            breaker.admit().succeeded()
            breaker.admit().failed()
        assert [(change.failures, change.outcomes) for change in changes] == [(10, 20)]

    def test_a_share_of_too_few_calls_is_no_share(self) -> None:
        breaker, _ = breaker_at(Clock())
        for _ in range(9):
            breaker.admit().succeeded()
            breaker.admit().failed()
        assert breaker.state == "closed"

    def test_failures_of_a_minute_ago_are_forgotten_by_time_alone(self) -> None:
        clock = Clock()
        breaker, _ = breaker_at(clock)
        for _ in range(9):
            breaker.admit().succeeded()
            breaker.admit().failed()
        clock.now += 60
        assert (breaker.status().failures, breaker.status().outcomes) == (0, 0)
        breaker.admit().succeeded()
        breaker.admit().failed()
        assert breaker.state == "closed"

    def test_a_call_that_was_left_counts_for_nothing(self) -> None:
        breaker, _ = breaker_at(Clock())
        for _ in range(100):
            breaker.admit().released()
        assert breaker.status().outcomes == 0

    def test_a_permit_counts_once(self) -> None:
        breaker, _ = breaker_at(Clock())
        permit = breaker.admit()
        for tell in (permit.succeeded, permit.failed, permit.failed, permit.released, permit.timed_out):
            tell()
        assert (breaker.status().failures, breaker.status().outcomes) == (0, 1)

    def test_a_timeout_is_a_failure(self) -> None:
        clock = Clock()
        breaker, _ = breaker_at(clock)
        for _ in range(5):
            permit = breaker.admit()
            clock.now += 0.5
            permit.timed_out()
        assert breaker.state == "open"

    def test_a_timeout_of_a_client_in_a_hurry_is_none(self) -> None:
        clock = Clock()
        breaker, _ = breaker_at(clock)
        for _ in range(50):
            permit = breaker.admit()
            clock.now += 0.01
            permit.timed_out()
        assert (breaker.state, breaker.status().outcomes) == ("closed", 0)


class TestOpen:
    def test_refuses_every_call_for_thirty_seconds(self) -> None:
        clock = Clock()
        breaker = opened(clock)
        clock.now += 29.5
        with pytest.raises(CircuitOpen, match="shop kept failing") as refused:
            breaker.admit()
        assert (refused.value.dependency, refused.value.retry_in_s) == ("shop", 0.5)
        clock.now += 0.5
        assert breaker.state == "half_open"

    def test_results_of_calls_made_before_change_nothing(self) -> None:
        clock = Clock()
        breaker, _ = breaker_at(clock)
        late = [breaker.admit() for _ in range(20)]
        for _ in range(5):
            breaker.admit().failed()
        for permit in late[:10]:
            permit.succeeded()
        clock.now += 30
        for permit in late[10:15]:
            permit.failed()
        assert breaker.state == "half_open"
        for permit in late[15:]:
            permit.succeeded()
        assert breaker.state == "half_open"

    def test_health_checks_neither_close_it_nor_keep_it_open(self) -> None:
        clock = Clock()
        breaker = opened(clock)
        for ok in (True, True, True, True, False):
            checked(breaker, ok=ok)
        assert breaker.status().state == "open"
        clock.now += 30
        assert breaker.status().state == "half_open"


class TestHalfOpen:
    @given(tens=st.integers(1, 30), told=st.sampled_from(["released", "nothing"]))
    def test_lets_exactly_one_in_ten_through_whatever_becomes_of_them(self, tens: int, told: str) -> None:
        breaker = half_opened(Clock())
        passed = []
        for _ in range(tens * 10):
            permit = admitted(breaker)
            passed.append(permit is not None)
            if permit is not None and told == "released":
                permit.released()
        assert passed == [True, *[False] * 9] * tens

    def test_closes_after_three_good_probes_and_starts_from_nothing(self) -> None:
        breaker = half_opened(Clock())
        for _ in range(30):
            permit = admitted(breaker)
            if permit is not None:
                permit.succeeded()
        assert breaker.state == "closed"
        assert (breaker.status().failures, breaker.status().outcomes, breaker.status().consecutive) == (0, 9, 0)

    def test_one_bad_probe_opens_it_for_another_thirty_seconds(self) -> None:
        clock = Clock()
        breaker = half_opened(clock)
        clock.now += 7
        breaker.admit().failed()
        clock.now += 29
        assert admitted(breaker) is None
        clock.now += 1
        assert admitted(breaker) is not None

    def test_probes_of_an_earlier_attempt_do_not_count_in_a_later_one(self) -> None:
        clock = Clock()
        breaker = half_opened(clock)
        early = [permit for permit in (admitted(breaker) for _ in range(40)) if permit is not None]
        checked(breaker, ok=False)
        clock.now += 30
        assert breaker.state == "half_open"
        for permit in early:
            permit.succeeded()
        assert breaker.state == "half_open"

    def test_health_checks_close_it_without_traffic(self) -> None:
        breaker = half_opened(Clock())
        states = []
        for _ in range(3):
            checked(breaker, ok=True)
            states.append(breaker.state)
        assert states == ["half_open", "half_open", "closed"]

    def test_a_health_check_that_fails_opens_it(self) -> None:
        breaker = half_opened(Clock())
        checked(breaker, ok=False)
        assert breaker.state == "open"

    @pytest.mark.parametrize("told", ["failed", "succeeded"])
    def test_a_health_check_begun_while_it_was_open_changes_nothing(self, told: str) -> None:
        clock = Clock()
        breaker = opened(clock)
        late = [breaker.begin_background_probe() for _ in range(RULES.probes_to_close)]
        clock.now += RULES.open_s
        assert breaker.state == "half_open"
        for probe in late:
            getattr(probe, told)()
        assert (breaker.state, breaker.status().opened_total) == ("half_open", 1)

    def test_health_checks_of_an_earlier_attempt_do_not_count_in_a_later_one(self) -> None:
        clock = Clock()
        breaker = half_opened(clock)
        late = [breaker.begin_background_probe() for _ in range(RULES.probes_to_close)]
        checked(breaker, ok=False)
        clock.now += RULES.open_s
        assert breaker.state == "half_open"
        for probe in late:
            probe.succeeded()
        assert breaker.state == "half_open"

    def test_a_probe_that_nothing_is_heard_of_holds_up_nobody(self) -> None:
        breaker = half_opened(Clock())
        for _ in range(3):
            assert admitted(breaker) is not None
            for _ in range(9):
                assert admitted(breaker) is None


class TestListeners:
    def test_each_is_told_of_each_change_once_it_has_happened(self) -> None:
        clock = Clock()
        breaker, changes = breaker_at(clock)
        states: list[str] = []
        breaker.listen(lambda change: states.append(f"{change.after} {breaker.state}"))
        for _ in range(5):
            breaker.admit().failed()
        clock.now += 30
        for _ in range(3):
            checked(breaker, ok=True)
        assert states == ["open open", "half_open half_open", "closed closed"]
        assert str(changes[0]) == (
            "breaker shop: closed -> open after 0.0 s; 5 of 5 calls failed in its window, 5 in a row, 0 refused, "
            "0 probes succeeded"
        )


@dataclass
class NaiveBreaker:
    """The same by going through everything that ever happened, again and again."""

    rules: BreakerConfig
    state: str = "closed"
    since: float = 0.0
    stretch: int = 0
    log: list[tuple[float, int, bool]] = field(default_factory=list)
    calls: list[int] = field(default_factory=list)

    def refresh(self, now: float) -> None:
        if self.state == "open" and now - self.since >= self.rules.open_s:
            self.turn("half_open", now)

    def turn(self, state: str, now: float) -> None:
        self.state, self.since, self.stretch = state, now, self.stretch + 1
        if state == "closed":
            self.log = []

    def admits(self, now: float) -> bool:
        self.refresh(now)
        self.calls.append(self.stretch)
        one_in = round(1 / self.rules.half_open_share)
        return self.state == "closed" or (
            self.state == "half_open" and (self.calls.count(self.stretch) - 1) % one_in == 0
        )

    def window(self, now: float) -> list[bool]:
        first = math.floor(now) - math.ceil(self.rules.window_s) + 1
        return [ok for at, _, ok in self.log if math.floor(at) >= first]

    def row(self) -> int:
        return len(list(takewhile(lambda entry: not entry[2], reversed(self.log))))

    def outcome(self, stretch: int, *, ok: bool, now: float) -> None:
        self.refresh(now)
        if stretch != self.stretch:
            return
        self.log.append((now, self.stretch, ok))
        if self.state == "half_open":
            good = sum(1 for _, stretch, ok in self.log if stretch == self.stretch and ok)
            if not ok:
                self.turn("open", now)
            elif good == self.rules.probes_to_close:
                self.turn("closed", now)
        elif not ok:
            window = self.window(now)
            bad = window.count(False)
            many = len(window) >= self.rules.minimum_volume and bad / len(window) >= self.rules.error_share
            if many or self.row() >= self.rules.consecutive:
                self.turn("open", now)


class RandomHistories(RuleBasedStateMachine):
    """Both breakers go through the same: calls, results early, late and repeated, callers who leave, health checks."""

    # Binary fractions, so that sums of them are exact.
    steps = st.sampled_from([0.0, 0.125, 0.5, 0.875, 1.0, 1.25, 2.0, 3.0, 4.0, 11.5])

    @initialize(rules=st.sampled_from([SHORT, SHORT, RULES]), start=st.sampled_from([0.0, 0.5, 1000.125]))
    def begin(self, rules: BreakerConfig, start: float) -> None:
        self.clock = Clock()
        self.clock.now = start
        self.changes: list[Transition] = []
        self.breaker = CircuitBreaker("shop", rules, clock=self.clock, on_change=self.changes.append)
        self.naive = NaiveBreaker(rules, since=start)
        self.config = rules
        # Each permit with when and in which stretch it was given; those told already stay, to be told again.
        self.permits: list[tuple[Permit, int, float]] = []
        self.told: set[int] = set()
        # Each health check with the half-open stretch in which it was begun; None: begun in another state.
        self.checks: list[tuple[Permit, int | None]] = []

    @rule(step=steps)
    def time_passes(self, step: float) -> None:
        self.clock.now += step

    @precondition(lambda self: self.breaker.state == "open")
    @rule()
    def it_is_open_until_it_no_longer_is(self) -> None:
        self.clock.now += self.config.open_s

    @rule(calls=st.integers(1, 12))
    def calls_begin(self, calls: int) -> None:
        for _ in range(calls):
            permit = admitted(self.breaker)
            assert (permit is not None) == self.naive.admits(self.clock.now)
            if permit is not None:
                self.permits.append((permit, self.naive.stretch, self.clock.now))

    @precondition(lambda self: self.permits)
    @rule(
        data=st.data(),
        calls=st.integers(1, 8),
        told=st.sampled_from(["succeeded", "failed", "failed", "timed_out", "released"]),
    )
    def calls_end(self, data: st.DataObject, calls: int, told: str) -> None:
        for _ in range(calls):
            waiting = [index for index in range(len(self.permits)) if index not in self.told]
            self.call_ends(data.draw(st.sampled_from(waiting or [0]) | st.integers(0, len(self.permits) - 1)), told)

    def call_ends(self, index: int, told: str) -> None:
        permit, stretch, began_at = self.permits[index]
        getattr(permit, told)()
        if index in self.told:
            return
        self.told.add(index)
        hasty = told == "timed_out" and self.clock.now - began_at < self.config.least_wait_s
        if told != "released" and not hasty:
            self.naive.outcome(stretch, ok=told == "succeeded", now=self.clock.now)

    @rule()
    def it_fails_until_it_opens(self) -> None:
        while self.breaker.state == "closed":
            self.calls_begin(1)
            self.call_ends(len(self.permits) - 1, "failed")

    @rule(calls=st.integers(1, 25), told=st.lists(st.booleans(), min_size=1, max_size=5))
    def calls_come_and_go(self, calls: int, told: list[bool]) -> None:
        for number in range(calls):
            self.calls_begin(1)
            if self.permits:
                self.call_ends(len(self.permits) - 1, "succeeded" if told[number % len(told)] else "failed")

    @rule()
    def a_check_begins(self) -> None:
        self.naive.refresh(self.clock.now)
        stretch = self.naive.stretch if self.naive.state == "half_open" else None
        self.checks.append((self.breaker.begin_background_probe(), stretch))

    @precondition(lambda self: self.checks)
    @rule(data=st.data(), ok=st.booleans())
    def a_check_ends(self, data: st.DataObject, ok: bool) -> None:
        self.check_ends(data.draw(st.integers(0, len(self.checks) - 1)), ok=ok)

    def check_ends(self, index: int, *, ok: bool) -> None:
        probe, stretch = self.checks.pop(index)
        (probe.succeeded if ok else probe.failed)()
        if stretch is not None:
            self.naive.outcome(stretch, ok=ok, now=self.clock.now)

    @rule(ok=st.booleans())
    def it_is_checked_at_once(self, ok: bool) -> None:
        self.a_check_begins()
        self.check_ends(len(self.checks) - 1, ok=ok)

    @invariant()
    def both_say_the_same(self) -> None:
        self.naive.refresh(self.clock.now)
        status = self.breaker.status()
        window = self.naive.window(self.clock.now)
        assert status.state == self.naive.state
        assert (status.failures, status.outcomes) == (window.count(False), len(window))
        assert status.consecutive == self.naive.row()
        assert len(self.changes) == self.naive.stretch
        assert status.opened_total == sum(change.after == "open" for change in self.changes)


TestRandomHistories = RandomHistories.TestCase


ACTIONS = {"time": 20, "begin": 25, "end": 45, "told again": 3, "check": 5, "checked": 5, "fail": 2}
OUTCOMES = ["succeeded", "succeeded", "failed", "timed_out", "released"]


class TestLongHistories:
    @pytest.mark.parametrize("rules", [SHORT, RULES], ids=["short", "default"])
    @pytest.mark.parametrize("seed", range(5))
    def test_both_say_the_same_after_each_of_many_steps(self, seed: int, rules: BreakerConfig) -> None:
        random = Random(seed)  # noqa: S311 - nothing secret
        history = RandomHistories()
        history.begin(rules=rules, start=random.random())
        for _ in range(1500):
            action = random.choices(list(ACTIONS), list(ACTIONS.values()))[0]
            waiting = sorted(set(range(len(history.permits))) - history.told)
            if action == "time":
                history.time_passes(random.choice([0.0, 0.125, 0.5, 1.0, 3.0, rules.open_s / 2]))
            elif action == "begin":
                history.calls_begin(random.randint(1, 12))
            elif action == "end" and waiting:
                for index in random.sample(waiting, min(len(waiting), random.randint(1, 8))):
                    history.call_ends(index, random.choice(OUTCOMES))
            elif action == "told again" and history.told:
                history.call_ends(random.choice(sorted(history.told)), random.choice(["succeeded", "failed"]))
            elif action == "check":
                history.a_check_begins()
            elif action == "checked" and history.checks:
                history.check_ends(random.randrange(len(history.checks)), ok=random.random() < 0.8)
            elif action == "fail":
                history.it_fails_until_it_opens()
            history.both_say_the_same()
        assert {change.after for change in history.changes} == {"open", "half_open", "closed"}
