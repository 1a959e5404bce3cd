from __future__ import annotations

import numpy as np
import pytest

from evaluation.search_metrics import answerable, search_metrics

JUDGMENTS = {
    "lamp": {"a": 3, "b": 0, "c": 1},
    "tent": {"a": 0, "d": 2},
    "nothing": {"a": 0, "b": 0},
}
BEST_FOR_LAMP = 3 + 1 / np.log2(3)


class TestSearchMetrics:
    def test_the_best_lists_score_one_by_either_measure(self) -> None:
        found = search_metrics({"lamp": ["a", "c", "b"], "tent": ["d"]}, JUDGMENTS)
        assert {name: values.tolist() for name, values in found.items()} == {
            "ndcg_at_10": [1.0, 1.0],
            "judged_ndcg_at_10": [1.0, 1.0],
        }

    def test_what_nobody_judged_takes_a_place_or_is_left_out(self) -> None:
        found = search_metrics({"lamp": ["unjudged", "a", "c"]}, JUDGMENTS)
        expected = (3 / np.log2(3) + 1 / np.log2(4)) / BEST_FOR_LAMP
        assert found["ndcg_at_10"].tolist() == [pytest.approx(expected), 0.0]
        assert found["judged_ndcg_at_10"].tolist() == [1.0, 0.0]

    def test_the_gain_is_the_judgment_itself(self) -> None:
        found = search_metrics({"lamp": ["c", "a"]}, JUDGMENTS, ["ndcg_at_10"])
        assert found["ndcg_at_10"][0] == pytest.approx((1 + 3 / np.log2(3)) / BEST_FOR_LAMP)

    def test_what_was_judged_counts_as_the_tenth_of_the_judged(self) -> None:
        found = search_metrics({"tent": [*(f"unjudged{number}" for number in range(50)), "d"]}, JUDGMENTS)
        assert (found["ndcg_at_10"][1], found["judged_ndcg_at_10"][1]) == (0.0, 1.0)

    def test_a_query_that_nothing_answers_is_left_out(self) -> None:
        assert answerable(JUDGMENTS) == ["lamp", "tent"]
        assert all(len(values) == 2 for values in search_metrics({"nothing": ["a"]}, JUDGMENTS).values())
