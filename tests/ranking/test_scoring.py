from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranking.scoring import MICROS, score

value = st.one_of(st.just(np.nan), st.floats(0, 1, allow_nan=False))
rows = st.integers(1, 8)
weight = st.floats(0, 10, allow_nan=False)


@st.composite
def features_and_weights(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    size = draw(rows)
    names = draw(st.lists(st.sampled_from(["search", "cf", "popularity", "freshness"]), min_size=1, unique=True))
    features = {name: np.array(draw(st.lists(value, min_size=size, max_size=size))) for name in names}
    return features, {name: draw(weight) for name in names}


class TestScore:
    def test_weighs_the_features(self) -> None:
        features = {"search": np.array([0.92]), "cf": np.array([0.78]), "popularity": np.array([0.85])}
        scores = score(features, {"search": 0.5, "cf": 0.3, "popularity": 0.2})
        assert scores.micros.tolist() == [864_000]

    def test_an_absent_features_weight_goes_to_the_present_ones(self) -> None:
        features = {"search": np.array([0.6]), "cf": np.array([np.nan])}
        scores = score(features, {"search": 0.4, "cf": 0.3})
        assert scores.micros.tolist() == [600_000]
        assert scores.effective_weights["search"].tolist() == [1.0]
        assert scores.effective_weights["cf"].tolist() == [0.0]
        assert scores.contributions["cf"].tolist() == [0]

    def test_each_candidate_is_weighed_by_what_it_has(self) -> None:
        features = {"search": np.array([0.5, 0.5]), "cf": np.array([1.0, np.nan])}
        assert score(features, {"search": 1.0, "cf": 1.0}).micros.tolist() == [750_000, 500_000]

    def test_a_candidate_without_any_weighted_feature_scores_nothing(self) -> None:
        assert score({"cf": np.array([np.nan])}, {"cf": 1.0}).micros.tolist() == [0]

    @given(features_and_weights())
    def test_contributions_add_up_to_the_score(self, drawn: tuple[dict[str, np.ndarray], dict[str, float]]) -> None:
        features, weights = drawn
        scores = score(features, weights)
        assert sum(scores.contributions.values()).tolist() == scores.micros.tolist()  # type: ignore[union-attr]

    @given(features_and_weights())
    def test_scores_stay_between_the_least_and_the_greatest_feature(
        self, drawn: tuple[dict[str, np.ndarray], dict[str, float]]
    ) -> None:
        features, weights = drawn
        scores = score(features, weights)
        for row, micros in enumerate(scores.micros):
            weighed = [values[row] for name, values in features.items() if weights[name] > 0 and values[row] >= 0]
            if weighed:
                assert min(weighed) * MICROS - 4 <= micros <= max(weighed) * MICROS + 4

    @given(features_and_weights())
    def test_a_candidates_score_does_not_depend_on_the_others(
        self, drawn: tuple[dict[str, np.ndarray], dict[str, float]]
    ) -> None:
        features, weights = drawn
        together = score(features, weights).micros.tolist()
        alone = [
            score({name: values[row : row + 1] for name, values in features.items()}, weights).micros[0]
            for row in range(len(together))
        ]
        assert together == alone

    def test_a_feature_without_a_weight_counts_for_nothing(self) -> None:
        features = {"search": np.array([0.25]), "novelty": np.array([1.0])}
        assert score(features, {"search": 1.0}).micros.tolist() == [250_000]

    @pytest.mark.parametrize("scale", [0.001, 1.0, 1000.0])
    def test_only_the_proportion_of_the_weights_counts(self, scale: float) -> None:
        features = {"search": np.array([0.2]), "popularity": np.array([0.8])}
        weights = {"search": 3.0 * scale, "popularity": 1.0 * scale}
        assert score(features, weights).micros.tolist() == [350_000]
