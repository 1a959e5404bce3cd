from __future__ import annotations

import numpy as np
import pytest

from evaluation.replay import clicked_categories, compare, compare_parts
from ranking.config import RankingConfig
from tests.evaluation.made_up_answers import clicked_answers, config_of

WANTED = config_of(0.15, 0.6, 0.05, 0.2)


class TestCompare:
    def test_the_weights_that_users_click_by_are_better(self) -> None:
        answers = clicked_answers(WANTED, count=2000)
        first, second = answers.ranked_by(RankingConfig()), answers.ranked_by(WANTED)
        found = compare(answers, first, second, position_bias=1.0)
        for name in ("ndcg_at_10", "mrr"):
            assert found.weighted[name].difference.low > 0
            assert found.weighted[name].second.mean > found.weighted[name].first.mean

    def test_an_order_compared_with_itself_differs_in_nothing(self) -> None:
        answers = clicked_answers(WANTED, count=100)
        places = answers.ranked_by(WANTED)
        found = compare(answers, places, places, position_bias=1.0)
        assert found.weighted["mrr"].difference == found.plain["ndcg_at_10"].difference
        assert found.weighted["mrr"].difference.mean == 0
        assert (found.overlap_at_10, found.overlap_at_3, found.rank_correlation) == (1.0, 1.0, 1.0)

    def test_an_order_turned_round_correlates_by_minus_one(self) -> None:
        answers = clicked_answers(WANTED, count=50, size=6)
        found = compare(answers, answers.ranks, 7 - answers.ranks, position_bias=1.0)
        assert (found.overlap_at_10, found.overlap_at_3, found.rank_correlation) == (1.0, 0.0, -1.0)

    def test_only_the_clicks_that_were_asked_for_count(self) -> None:
        answers = clicked_answers(WANTED, count=50)
        chosen = np.arange(len(answers.clicked)) < 100
        found = compare(answers, answers.ranks, answers.ranks, position_bias=1.0, clicks=chosen)
        assert (found.answers, found.clicks) == (10, 10)


class TestCompareParts:
    def test_tells_endpoints_users_and_categories_apart(self) -> None:
        answers = clicked_answers(WANTED, count=400, categories=("books", "films", None))
        parts = {each.part: each for each in compare_parts(answers, answers.ranks, answers.ranks, position_bias=1)}
        assert set(parts) == {
            "all",
            "search",
            "recommendations",
            "with a user",
            "without a user",
            "category books",
            "category films",
        }
        assert parts["search"].clicks + parts["recommendations"].clicks == parts["all"].clicks == 400
        assert parts["with a user"].clicks == 266


class TestClickedCategories:
    @pytest.mark.parametrize(("least", "expected"), [(1, ["a", "b"]), (10_000, [])])
    def test_those_with_too_few_clicks_are_left_out(self, least: int, expected: list[str]) -> None:
        answers = clicked_answers(WANTED, count=200, categories=("a", "b", None))
        assert sorted(clicked_categories(answers, least=least)) == expected
