from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from tests.training.made_up import checkerboard
from training.als import AlsSettings, fit_factors
from training.cf_transform import cf_transform


class TestCfTransform:
    def test_an_item_that_says_nothing_is_near_zero_and_the_best_are_apart(self) -> None:
        settings = AlsSettings(factors=2, alpha=20.0, regularization=0.01, iterations=15, seed=1)
        user_factors, item_factors = fit_factors(sparse.csr_matrix(checkerboard(40)), settings)
        generator = np.random.default_rng(0)
        item_factors = item_factors * generator.uniform(0.2, 1.5, size=(40, 1)).astype(np.float32)
        transform, saturated = cf_transform(user_factors, item_factors, seed=1)
        dots = np.sort((user_factors @ item_factors.T)[0].astype(np.float64))
        feature = 1 / (1 + np.exp(-(dots - float(transform["midpoint"])) / float(transform["scale"])))
        assert transform["kind"] == "logistic"
        assert feature[0] < 0.1
        assert saturated == pytest.approx((feature[-20:] > 0.99).mean(), abs=0.05)
        assert (np.diff(feature) >= 0).all()

    def test_factors_of_nothing_have_a_transform(self) -> None:
        transform, _ = cf_transform(np.zeros((3, 2), np.float32), np.zeros((4, 2), np.float32), seed=1)
        assert float(transform["scale"]) > 0
