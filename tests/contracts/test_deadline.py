from __future__ import annotations

from contracts.deadline import Deadline


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class TestDeadline:
    def test_what_is_left_shrinks_with_time_and_never_goes_below_zero(self) -> None:
        clock = Clock()
        deadline = Deadline.in_seconds(2.0, clock=clock)
        assert deadline.left_s() == 2.0
        clock.now += 0.5
        assert deadline.left_s() == 1.5
        clock.now += 5.0
        assert deadline.left_s() == 0.0

    def test_a_step_may_take_a_share_of_what_is_left(self) -> None:
        assert Deadline.in_seconds(2.0, clock=Clock()).left_s(0.25) == 0.5
