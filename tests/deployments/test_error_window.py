from __future__ import annotations

from dataclasses import dataclass

from deployments.error_window import LEAST_ERRORS, WINDOW_S, ErrorWindow


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


def filled(window: ErrorWindow, *, canary: tuple[int, int], active: tuple[int, int] = (0, 0)) -> ErrorWindow:
    """Errors and requests of both."""
    for is_canary, (errors, requests) in ((True, canary), (False, active)):
        for number in range(requests):
            window.add(canary=is_canary, failed=number < errors)
    return window


class TestErrorWindow:
    def test_few_errors_may_be_chance(self) -> None:
        assert filled(ErrorWindow(), canary=(LEAST_ERRORS - 1, LEAST_ERRORS - 1)).problem() is None

    def test_one_that_always_fails_is_found(self) -> None:
        problem = filled(ErrorWindow(), canary=(5, 5), active=(0, 50)).problem()
        assert problem == "5 of 5 requests failed within five minutes, 0 of 50 of the active one"

    def test_a_share_of_errors_that_is_small_is_borne(self) -> None:
        assert filled(ErrorWindow(), canary=(10, 1000)).problem() is None
        assert filled(ErrorWindow(), canary=(30, 1000)).problem() is not None

    def test_what_the_active_version_fails_too_is_not_the_canarys_fault(self) -> None:
        assert filled(ErrorWindow(), canary=(30, 100), active=(300, 1000)).problem() is None
        assert filled(ErrorWindow(), canary=(33, 100), active=(300, 1000)).problem() is not None

    def test_what_is_long_ago_does_not_count(self) -> None:
        clock = Clock()
        window = filled(ErrorWindow(clock=clock), canary=(5, 5))
        clock.now_s += WINDOW_S + 20
        assert window.problem() is None
