from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.best_of_rows import best_of_rows


class TestBestOfRows:
    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 1000), st.integers(1, 30), st.sampled_from([5, 60, 1500]), st.sampled_from([0, 1, 7]))
    def test_agrees_with_sorting_everything(self, seed: int, limit: int, columns: int, decimals: int) -> None:
        """Few decimals make many scores equal."""
        generator = np.random.default_rng(seed)
        scores = np.round(generator.standard_normal((9, columns)), decimals).astype(np.float32)
        scores[generator.random(scores.shape) < generator.choice([0, 0.3, 0.99])] = -np.inf
        found = best_of_rows(scores, limit)
        for row, listed in zip(scores, found.tolist(), strict=True):
            order = [int(place) for place in np.lexsort((np.arange(columns), -row)) if row[place] > -np.inf][:limit]
            assert listed == order + [-1] * (limit - len(order))

    def test_a_sample_that_promises_too_much_is_not_trusted(self) -> None:
        scores = np.zeros((2, 8000), dtype=np.float32)
        scores[0, ::100] = np.arange(80) + 1
        assert best_of_rows(scores, 10)[0].tolist() == list(range(7900, 6900, -100))
        assert best_of_rows(scores, 10)[1].tolist() == list(range(10))

    @pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
    def test_nothing_gives_empty_lists(self, shape: tuple[int, int]) -> None:
        assert best_of_rows(np.zeros(shape, np.float32), 4).tolist() == [[-1] * 4] * shape[0]
