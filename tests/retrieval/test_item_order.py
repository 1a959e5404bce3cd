from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.item_order import best_items

scores_of = st.dictionaries(st.text(min_size=1, max_size=3), st.integers(0, 3), max_size=12)


class TestBestItems:
    @given(scores_of, st.integers(1, 15), st.sets(st.text(min_size=1, max_size=3), max_size=4))
    def test_agrees_with_sorting_everything(self, scores: dict[str, int], limit: int, without: set[str]) -> None:
        expected = sorted(
            ((item, float(value)) for item, value in scores.items() if item not in without),
            key=lambda pair: (-pair[1], pair[0]),
        )[:limit]
        values = np.array(list(scores.values()), dtype=np.float32)
        assert best_items(list(scores), values, limit=limit, without=frozenset(without)) == expected

    def test_noise_beyond_six_decimals_does_not_decide(self) -> None:
        scores = np.array([0.5, 0.50000006], dtype=np.float32)
        assert [item for item, _ in best_items(["a", "b"], scores, limit=2, without=frozenset())] == ["a", "b"]
