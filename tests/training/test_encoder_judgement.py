from __future__ import annotations

import numpy as np
import pytest

from training.embedding_encoder import Encoder
from training.encoder_judgement import EncoderJudgement, require_gain
from training.errors import QualityTooLow

FIGURES = {"ndcg_at_10": 0.62, "ndcg_at_10_base": 0.60, "ndcg_at_10_gain_low": 0.004}


class TestRequireGain:
    def test_one_that_finds_more_by_the_margin_is_kept(self) -> None:
        require_gain(FIGURES, 0.01)

    def test_one_that_finds_less_is_refused_with_both_figures(self) -> None:
        with pytest.raises(QualityTooLow, match=r"0\.5900 against 0\.6000"):
            require_gain(FIGURES | {"ndcg_at_10": 0.59}, 0.01)

    def test_one_that_finds_hardly_more_is_refused(self) -> None:
        with pytest.raises(QualityTooLow, match=r"0\.03 more is needed"):
            require_gain(FIGURES, 0.03)

    def test_a_gain_that_could_be_chance_is_refused(self) -> None:
        with pytest.raises(QualityTooLow, match="chance"):
            require_gain(FIGURES | {"ndcg_at_10_gain_low": -0.001}, 0.01)

    def test_one_no_better_than_the_tuned_one_in_use_is_refused(self) -> None:
        require_gain(FIGURES | {"ndcg_at_10_in_use": 0.605}, 0.01)
        with pytest.raises(QualityTooLow, match=r"0\.6150 of the tuned one in use"):
            require_gain(FIGURES | {"ndcg_at_10_in_use": 0.615}, 0.01)

    def test_a_figure_that_is_not_a_number_is_refused(self) -> None:
        with pytest.raises(QualityTooLow):
            require_gain(FIGURES | {"ndcg_at_10": float("nan")}, 0.01)


class TestEncoderJudgement:
    def test_queries_of_all_kinds_count_the_same(self) -> None:
        encoder = Encoder("tiny", 4, 8, "here", {"cosine_mean": 0.99}, {})
        found = {"click": np.array([1.0]), "title": np.array([0.5, 0.5, 1.0])}
        base = {"click": np.array([0.0]), "title": np.array([0.5, 0.5, 1.0])}
        metrics = EncoderJudgement(encoder, found, base, None).metrics()
        assert (metrics["ndcg_at_10"], metrics["ndcg_at_10_base"], metrics["ndcg_at_10_gain"]) == (0.75, 0.5, 0.25)
        assert (metrics["click_ndcg_at_10_base"], metrics["title_ndcg_at_10"]) == (0.0, 0.6667)
        assert metrics["cosine_mean"] == 0.99
        assert "ndcg_at_10_in_use" not in metrics
