from __future__ import annotations

from cluster.restarts import Restarts


class TestRestarts:
    def test_pauses_double_and_then_it_gives_up(self) -> None:
        restarts = Restarts(most=4, window_s=100, clock=lambda: 0.0)
        assert [restarts.next_pause() for _ in range(5)] == [0.0, 1.0, 2.0, 4.0, None]
        assert restarts.count == 4

    def test_what_lies_before_the_window_is_forgiven(self) -> None:
        moments = iter([0.0, 1.0, 200.0])
        restarts = Restarts(most=2, window_s=100, clock=lambda: next(moments))
        assert [restarts.next_pause() for _ in range(3)] == [0.0, 1.0, 0.0]
