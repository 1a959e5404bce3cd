from __future__ import annotations

import numpy as np
import pytest

from ranking.features import affinity, collaborative, freshness


class TestFreshness:
    def test_halves_with_each_half_life(self) -> None:
        assert freshness(np.array([0.0, 30.0, 60.0]), half_life_days=30.0).tolist() == [1.0, 0.5, 0.25]

    def test_a_product_from_after_the_window_is_as_fresh_as_can_be(self) -> None:
        assert freshness(np.array([-400.0]), half_life_days=30.0).tolist() == [1.0]

    def test_an_unknown_age_stays_unknown(self) -> None:
        assert np.isnan(freshness(np.array([np.nan]), half_life_days=30.0)).tolist() == [True]


class TestAffinity:
    def test_is_the_dot_product(self) -> None:
        items = np.array([[1.0, 2.0], [0.0, 4.0]], dtype=np.float32)
        assert affinity(np.array([3.0, 0.5], dtype=np.float32), items).tolist() == [4.0, 2.0]

    def test_a_row_is_the_same_among_others_as_alone(self) -> None:
        rng = np.random.default_rng(7)
        items, user = rng.normal(size=(300, 64)).astype(np.float32), rng.normal(size=64).astype(np.float32)
        together = affinity(user, items)
        assert together.tolist() == [affinity(user, items[row : row + 1])[0] for row in range(300)]


class TestCollaborative:
    def test_clip_keeps_what_lies_between_0_and_1(self) -> None:
        assert collaborative(np.array([-0.5, 0.25, 1.5]), {"kind": "clip"}).tolist() == [0.0, 0.25, 1.0]

    def test_logistic_is_one_half_at_its_midpoint(self) -> None:
        transform = {"kind": "logistic", "midpoint": 2.0, "scale": 0.5}
        assert collaborative(np.array([2.0]), transform).tolist() == [0.5]

    def test_an_unknown_transform_is_refused_by_name(self) -> None:
        with pytest.raises(ValueError, match="'rank'"):
            collaborative(np.array([0.1]), {"kind": "rank"})
