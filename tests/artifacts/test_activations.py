from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from artifacts.activations import Activation, entry_name, in_use_before

START = datetime(2026, 11, 22, tzinfo=UTC)
VERSIONS = ("a", "b", "c", "d")


def activation(version: str, number: int, *, rollback: bool = False) -> Activation:
    at = START + timedelta(microseconds=number)
    return Activation(version=version, replaced=None, activated_at=at, action="rollback" if rollback else "activate")


def history(*steps: str) -> list[Activation]:
    """``a`` activates it, ``<a`` rolls back to it."""
    return [activation(step.lstrip("<"), n, rollback=step.startswith("<")) for n, step in enumerate(steps)]


class TestInUseBefore:
    def test_the_last_one_comes_first(self) -> None:
        assert in_use_before(history("a", "b", "c"), "c") == ["b", "a"]

    def test_a_second_rollback_goes_further_back_not_forth_again(self) -> None:
        assert in_use_before(history("a", "b", "c", "<b"), "b") == ["a"]

    def test_an_activation_after_a_rollback_begins_anew_from_there(self) -> None:
        assert in_use_before(history("a", "b", "c", "<b", "d"), "d") == ["b", "a"]

    def test_activating_an_older_one_by_name_is_no_rollback(self) -> None:
        assert in_use_before(history("a", "b", "a"), "a") == ["b"]

    def test_what_was_rolled_back_from_is_not_gone_back_to_though_it_was_in_use_before_that_too(self) -> None:
        assert in_use_before(history("a", "b", "a", "<b"), "b") == []

    def test_of_two_at_once_the_one_that_lost_is_not_gone_back_to(self) -> None:
        """Both were written down, then ``ACTIVE`` was replaced in the other order."""
        assert in_use_before(history("x", "a", "b"), "a") == ["x"]

    def test_where_nobody_knows_the_present_one_the_last_one_is_first(self) -> None:
        assert in_use_before(history("a", "b"), None) == ["b", "a"]

    def test_a_rollback_to_what_no_history_tells_of_is_an_activation(self) -> None:
        assert in_use_before(history("a", "<z"), "z") == ["a"]

    @given(st.lists(st.tuples(st.sampled_from(VERSIONS), st.booleans()), max_size=12))
    def test_rollbacks_come_to_an_end_and_never_return_to_what_they_left(self, steps: list[tuple[str, bool]]) -> None:
        """Against a naive undo stack, and by rolling back until nothing is left."""
        told: list[Activation] = []
        stack: list[str] = []
        for number, (version, undo) in enumerate(steps):
            before = in_use_before(told, stack[-1] if stack else None)
            if undo and len(stack) > 1:
                left = stack[-1]
                stack = [each for each in stack if each != left]
                assert (before[0] if before else None) == (stack[-1] if stack else None)
                if not stack:
                    return
                told.append(activation(stack[-1], number, rollback=True))
            elif not stack or stack[-1] != version:
                stack.append(version)
                told.append(activation(version, number))
        left_behind = set()
        active = stack[-1] if stack else None
        while before := in_use_before(told, active):
            left_behind.add(active)
            active = before[0]
            assert active not in left_behind
            told.append(activation(active, len(told) + len(steps), rollback=True))


class TestEntryName:
    def test_names_sort_by_time_and_none_is_used_twice(self) -> None:
        moments = [activation("a", number) for number in (1, 1, 2, 1_000_000)]
        names = [entry_name(each) for each in moments]
        assert sorted(names) == sorted(names[:2]) + names[2:]
        assert len(set(names)) == 4
