from __future__ import annotations

from storage.errors import QueryTimeout
from storage.lateness import PASSED_OVER_S, Lateness

ERROR = QueryTimeout("replica-1", "did not answer")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class TestLateness:
    def test_a_server_that_let_a_read_wait_in_vain_is_late_for_a_second(self) -> None:
        clock = Clock()
        lateness = Lateness(clock)
        lateness.answered("replica-1")
        clock.now += 1
        since = lateness.now()
        clock.now += 0.2
        lateness.waited("replica-1", since, ERROR)
        assert lateness.of("replica-1") is ERROR
        assert lateness.of("primary") is None
        clock.now += PASSED_OVER_S
        assert lateness.of("replica-1") is None

    def test_one_that_answered_others_meanwhile_is_not(self) -> None:
        clock = Clock()
        lateness = Lateness(clock)
        since = lateness.now()
        clock.now += 0.1
        lateness.answered("replica-1")
        clock.now += 0.1
        lateness.waited("replica-1", since, ERROR)
        assert lateness.of("replica-1") is None

    def test_nor_one_that_answers_again(self) -> None:
        clock = Clock()
        lateness = Lateness(clock)
        lateness.waited("replica-1", lateness.now(), ERROR)
        lateness.answered("replica-1")
        assert lateness.of("replica-1") is None
