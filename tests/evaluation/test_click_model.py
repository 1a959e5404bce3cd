from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from evaluation.click_model import _Problem, fit_click_model
from ranking.config import FEATURES, RankingConfig, Weights
from tests.evaluation.made_up_answers import clicked_answers, config_of

WANTED = (0.15, 0.6, 0.05, 0.2)


def shares(weights: Weights) -> list[float]:
    return [weights.of(name) for name in FEATURES]


class TestFitClickModel:
    def test_finds_the_weights_that_users_click_by(self) -> None:
        """They saw the present order, and looked at the tenth place a tenth as often as at the first."""
        answers = clicked_answers(config_of(*WANTED), count=4000)
        found = fit_click_model(answers, RankingConfig())
        assert shares(found.config.weights) == pytest.approx(WANTED, abs=0.05)
        assert found.position_bias == pytest.approx(1.0, abs=0.15)
        assert found.steepness == pytest.approx(10, rel=0.15)

    @pytest.mark.parametrize("position_bias", [0.0, 0.5, 2.0])
    def test_finds_them_however_users_look(self, position_bias: float) -> None:
        answers = clicked_answers(config_of(*WANTED), count=6000, position_bias=position_bias)
        found = fit_click_model(answers, RankingConfig())
        assert shares(found.config.weights) == pytest.approx(WANTED, abs=0.05)
        assert found.position_bias == pytest.approx(position_bias, abs=0.15)

    def test_finds_those_of_each_category(self) -> None:
        wanted = config_of(0.4, 0.3, 0.2, 0.1, books=(0.1, 0.7, 0.1, 0.1), films=(0.1, 0.1, 0.1, 0.7))
        answers = clicked_answers(wanted, count=12_000, categories=("books", "films", "rest", None))
        found = fit_click_model(answers, RankingConfig(), categories=["books", "films"])
        assert shares(found.config.weights) == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.06)
        for name in ("books", "films"):
            expected = shares(wanted.category_weights[name])
            assert shares(found.config.category_weights[name]) == pytest.approx(expected, abs=0.06)

    def test_weights_that_are_right_stay(self) -> None:
        found = fit_click_model(clicked_answers(RankingConfig(), count=4000), RankingConfig())
        assert shares(found.config.weights) == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.05)

    def test_a_few_clicks_hardly_move_anything(self) -> None:
        found = fit_click_model(clicked_answers(config_of(*WANTED), count=5), RankingConfig())
        assert shares(found.config.weights) == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.1)

    def test_a_feature_that_nothing_has_keeps_its_share(self) -> None:
        """As `search` in a log of recommendations alone: clicks say nothing of it."""
        answers = clicked_answers(config_of(*WANTED), count=3000, categories=("books", None))
        answers = replace(answers, features={**answers.features, "search": np.full(len(answers.clicked), np.nan)})
        found = fit_click_model(answers, RankingConfig(), categories=["books"])
        for weights in (found.config.weights, found.config.category_weights["books"]):
            assert weights.search == pytest.approx(0.4, abs=1e-4)
            assert weights.cf > weights.popularity
            assert sum(shares(weights)) == pytest.approx(1, abs=1e-3)

    def test_a_category_without_clicks_has_the_new_weights_of_all(self) -> None:
        answers = clicked_answers(config_of(*WANTED), count=3000)
        found = fit_click_model(answers, RankingConfig(), categories=["none of it"])
        assert found.config.category_weights["none of it"] == found.config.weights

    def test_weights_of_categories_that_are_not_fitted_stay(self) -> None:
        present = config_of(0.4, 0.3, 0.2, 0.1, wine=(0.0, 0.0, 0.5, 0.5))
        answers = clicked_answers(config_of(*WANTED), count=500, categories=("wine", "cheese"), shown_by=present)
        found = fit_click_model(answers, present, categories=["cheese"])
        assert found.config.category_weights["wine"] == present.category_weights["wine"]

    def test_the_same_clicks_give_the_same_weights(self) -> None:
        answers = clicked_answers(config_of(*WANTED), count=1000, categories=("a", "b"))
        once, again = (fit_click_model(answers, RankingConfig(), categories=["a"]) for _ in range(2))
        assert once.config == again.config

    def test_fixed_weights_are_as_they_were(self) -> None:
        answers = clicked_answers(config_of(*WANTED), count=1000)
        found = fit_click_model(answers, RankingConfig(), fixed=True)
        assert found.config == RankingConfig()
        assert found.expected.sum() == pytest.approx(1000)

    def test_the_slope_is_that_of_the_cost(self) -> None:
        present = config_of(0.4, 0.3, 0.2, 0.1, a=(0.1, 0.2, 0.3, 0.4), c=(0.7, 0.1, 0.1, 0.1))
        answers = clicked_answers(config_of(*WANTED), count=50, categories=("a", "b", "c", None), shown_by=present)
        problem = _Problem(answers, present, ("a", "b"), 10.0)
        random = np.random.default_rng(3)
        for _ in range(5):
            point = np.concatenate([random.uniform(0.05, 1, problem.start.size), random.uniform(0.2, 2, 2)])
            off = optimize.check_grad(
                lambda each: problem.cost_and_slope(each)[0], lambda each: problem.cost_and_slope(each)[1], point
            )
            assert off < 1e-5
