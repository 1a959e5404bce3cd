from __future__ import annotations

import numpy as np
import pytest
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

    @pytest.mark.parametrize("decimals", [1, 3, 7])
    @pytest.mark.parametrize("scale", [1.0, 1000.0])
    def test_a_large_catalogue_is_looked_through_as_a_small_one(self, decimals: int, scale: float) -> None:
        """Few decimals make many scores equal, also at the limit."""
        generator = np.random.default_rng(decimals)
        values = (np.round(generator.standard_normal(50_000), decimals) * scale).astype(np.float32)
        items = [f"p{row:05}" for row in generator.permutation(len(values))]
        without = frozenset(items[:7])
        rounded = np.round(values.astype(np.float64), 6).tolist()
        pairs = [pair for pair in zip(items, rounded, strict=True) if pair[0] not in without]
        expected = sorted(pairs, key=lambda pair: (-pair[1], pair[0]))[:40]
        assert best_items(items, values, limit=40, without=without) == expected

    def test_a_sample_that_promises_too_much_is_not_trusted(self) -> None:
        """Only every hundredth score is high: a sample by that step believes that they all are."""
        values = np.zeros(40_000, dtype=np.float32)
        values[::100] = np.arange(400) + 1
        items = [f"p{row:05}" for row in range(len(values))]
        found = best_items(items, values, limit=50, without=frozenset())
        assert [score for _, score in found] == [float(score) for score in range(400, 350, -1)]
