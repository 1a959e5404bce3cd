from __future__ import annotations

import numpy as np
import pytest

from evaluation.intervals import bootstrap_intervals


class TestBootstrapIntervals:
    def test_they_are_as_wide_as_the_normal_ones_of_a_mean(self) -> None:
        values = np.random.default_rng(1).normal(3, [[2, 0.5]] * 4000)
        low, high = bootstrap_intervals(values)
        expected = 2 * 1.96 * values.std(axis=0) / np.sqrt(4000)
        assert high - low == pytest.approx(expected, rel=0.1)
        assert (low < values.mean(axis=0)).all()
        assert (values.mean(axis=0) < high).all()

    def test_the_same_seed_gives_the_same_ends(self) -> None:
        values = np.random.default_rng(1).random((50, 3))
        once, again = (np.concatenate(bootstrap_intervals(values, seed=4)) for _ in range(2))
        assert once.tolist() == again.tolist()

    def test_what_does_not_vary_has_no_width(self) -> None:
        assert [ends.tolist() for ends in bootstrap_intervals(np.full((9, 1), 0.25))] == [[0.25], [0.25]]

    def test_nobody_gives_nothing(self) -> None:
        assert [ends.tolist() for ends in bootstrap_intervals(np.zeros((0, 2)))] == [[0.0, 0.0], [0.0, 0.0]]
