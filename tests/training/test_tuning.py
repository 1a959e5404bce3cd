from __future__ import annotations

import pytest
from pydantic import ValidationError

from training.tuning import SearchSpace, as_table

TRIAL = {
    "factors": 64,
    "alpha": 12.5,
    "regularization": 100.0,
    "iterations": 8,
    "ndcg_at_20": 0.25,
    "recall_at_20": 0.3,
    "seconds": 1.25,
}


class TestSearchSpace:
    def test_what_is_not_given_has_a_default(self) -> None:
        space = SearchSpace.model_validate({"factors": [8], "alpha": {"low": 2, "high": 3}})
        assert (space.factors, space.alpha.low, space.regularization.high) == ([8], 2, 300)

    @pytest.mark.parametrize(
        "content",
        [
            {"factors": []},
            {"factors": [0]},
            {"alpha": {"low": 3, "high": 3}},
            {"alpha": {"low": 0, "high": 3}},
            {"beta": 1},
        ],
    )
    def test_what_cannot_be_drawn_from_is_refused(self, content: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            SearchSpace.model_validate(content)


class TestAsTable:
    def test_a_trial_is_a_line_below_the_names(self) -> None:
        header, line = as_table([TRIAL]).splitlines()
        assert header.split() == list(TRIAL)
        assert line.split() == ["64", "12.5", "100", "8", "0.2500", "0.3000", "1.25"]

    def test_a_long_search_shows_its_best(self) -> None:
        assert len(as_table([TRIAL] * 50, most=20).splitlines()) == 21
