from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_measures import RR, nDCG

from evaluation.click_metrics import click_metrics, estimates, examined, users_of
from ranking.config import RankingConfig
from tests.evaluation.made_up_answers import clicked_answers


class TestClickMetrics:
    @given(st.lists(st.booleans(), min_size=30, max_size=30), st.integers(0, 1000))
    def test_with_every_click_alike_they_are_those_of_trec_eval(self, clicks: list[bool], seed: int) -> None:
        answers = clicked_answers(RankingConfig(), count=2, size=15).with_clicks(np.array(clicks))
        random = np.random.default_rng(seed)
        places = np.concatenate([random.permutation(15), random.permutation(15)]) + 1
        found = click_metrics(answers, places, position_bias=0)
        wanted: dict[str, dict[str, int]] = {str(each): {} for each in range(2)}
        ranked: dict[str, dict[str, float]] = {str(each): {} for each in range(2)}
        for row, answer in enumerate(answers.answer_of.tolist()):
            ranked[str(answer)][str(row)] = -float(places[row])
            wanted[str(answer)][str(row)] = int(clicks[row])
        for measured in ir_measures.iter_calc([nDCG @ 10, RR], wanted, ranked):
            column = 0 if measured.measure == nDCG @ 10 else 1
            assert found.values[int(measured.query_id), column] == pytest.approx(measured.value)

    def test_a_click_from_where_nobody_looks_counts_more(self) -> None:
        answers = clicked_answers(RankingConfig(), count=2, size=4)
        clicked = np.array([True, False, False, False, False, False, False, True])
        found = click_metrics(answers.with_clicks(clicked), answers.ranks, position_bias=1)
        assert found.weights.tolist() == [1.0, 4.0]
        assert found.values[:, 1].tolist() == [1.0, 0.25]

    def test_an_answer_without_clicks_counts_nothing(self) -> None:
        answers = clicked_answers(RankingConfig(), count=1, size=4).with_clicks(np.zeros(4, dtype=np.bool_))
        found = click_metrics(answers, answers.ranks, position_bias=1)
        assert (found.values.tolist(), found.weights.tolist()) == ([[0.0, 0.0]], [0.0])

    def test_weighted_clicks_put_two_orders_as_they_would_stand_if_all_were_seen(self) -> None:
        """The mean over what users want, had they looked at every place."""
        seen, unbiased = (
            clicked_answers(RankingConfig(), count=20_000, size=5, position_bias=bias) for bias in (1.0, 0.0)
        )
        backwards = 6 - seen.ranks
        values = []
        for answers, bias in ((seen, 1.0), (unbiased, 0.0)):
            found = click_metrics(answers, backwards, position_bias=bias)
            values.append(np.average(found.values[:, 1], weights=found.weights))
        assert values[0] == pytest.approx(values[1], abs=0.01)


class TestExamined:
    def test_falls_with_the_rank_but_not_below_a_twentieth(self) -> None:
        assert examined(np.array([1, 2, 100]), 1.0).tolist() == [1.0, 0.5, 0.05]

    def test_without_bias_all_ranks_are_alike(self) -> None:
        assert examined(np.array([1, 50]), 0.0).tolist() == [1.0, 1.0]


class TestEstimates:
    def test_a_mean_counts_by_weight(self) -> None:
        found = estimates(np.array([[1.0], [0.0]]), np.array([3.0, 1.0]), np.array([0, 1]))
        assert found[0].mean == 0.75

    def test_answers_of_one_user_are_drawn_together(self) -> None:
        values = np.repeat([0.0, 1.0], 500)[:, None]
        alone, together = (
            estimates(values, np.ones(1000), users)[0] for users in (np.arange(1000), np.arange(1000) // 100)
        )
        assert together.high - together.low > 5 * (alone.high - alone.low)

    def test_nothing_is_nothing(self) -> None:
        assert estimates(np.zeros((0, 2)), np.zeros(0), np.zeros(0, dtype=np.int64))[1].mean == 0


class TestUsersOf:
    def test_nobody_is_always_somebody_else(self) -> None:
        answers = clicked_answers(RankingConfig(), count=4, size=2)
        assert answers.user_ids == [None, "u1", "u2", None]
        assert len(set(users_of(answers).tolist())) == 4
