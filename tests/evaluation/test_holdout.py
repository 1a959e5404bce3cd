from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evaluation.holdout import after_a_time, last_of_each_user, some_of_each_user


class TestAfterATime:
    def test_all_that_came_after_one_moment_is_withheld(self) -> None:
        chosen = after_a_time(np.array([5.0, 1.0, 4.0, 2.0, 3.0]), share=0.4)
        assert chosen.tolist() == [True, False, True, False, False]

    def test_what_came_at_the_moment_itself_stays(self) -> None:
        assert after_a_time(np.array([1.0, 2.0, 2.0, 2.0, 3.0]), share=0.5).tolist() == [False] * 4 + [True]

    def test_nothing_gives_nothing(self) -> None:
        assert after_a_time(np.zeros(0), share=0.2).tolist() == []


class TestSomeOfEachUser:
    def test_every_user_gives_the_same_share_and_the_seed_decides_which(self) -> None:
        users = np.repeat(np.arange(4), 10)
        once, again, other = (some_of_each_user(users, share=0.2, at_least=5, seed=seed) for seed in (1, 1, 2))
        assert np.bincount(users[once]).tolist() == [2, 2, 2, 2]
        assert once.tolist() == again.tolist() != other.tolist()


class TestLastOfEachUser:
    def test_the_latest_are_withheld_whatever_their_order(self) -> None:
        users, last_at = np.array([1, 0, 1, 1, 1, 1]), np.array([50.0, 9.0, 10.0, 40.0, 20.0, 30.0])
        chosen = last_of_each_user(users, last_at, share=0.4, at_least=5)
        assert chosen.tolist() == [True, False, False, True, False, False]

    def test_a_user_of_few_interactions_keeps_them(self) -> None:
        assert not last_of_each_user(np.zeros(4, np.int64), np.arange(4.0), share=0.5, at_least=5).any()

    def test_at_least_one_is_withheld(self) -> None:
        assert last_of_each_user(np.zeros(3, np.int64), np.arange(3.0), share=0.1, at_least=3).sum() == 1

    def test_nothing_gives_nothing(self) -> None:
        assert last_of_each_user(np.zeros(0, np.int64), np.zeros(0), share=0.2, at_least=5).tolist() == []

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=60))
    def test_no_withheld_interaction_precedes_a_kept_one(self, pairs: list[tuple[int, int]]) -> None:
        users = np.array([user for user, _ in pairs], dtype=np.int64)
        last_at = np.array([moment for _, moment in pairs], dtype=np.float64)
        chosen = last_of_each_user(users, last_at, share=0.3, at_least=2)
        for user in set(users.tolist()):
            kept, withheld = last_at[(users == user) & ~chosen], last_at[(users == user) & chosen]
            assert len(kept) >= 1
            assert kept.max() <= withheld.min(initial=np.inf)
