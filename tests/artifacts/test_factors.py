from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from artifacts.errors import ArtifactCorrupt
from artifacts.factors import Factors

ODD_IDS = ['with "quotes"', "new\nline", "", "ünïcode", "a,b", "null"]


def factors() -> Factors:
    generator = np.random.default_rng(0)
    return Factors(
        user_ids=["u1", "u2"],
        item_ids=ODD_IDS,
        user_factors=generator.normal(size=(2, 3)).astype(np.float32),
        item_factors=generator.normal(size=(len(ODD_IDS), 3)).astype(np.float32),
        regularization=0.5,
        alpha=2.0,
    )


class TestFactors:
    def test_any_id_survives_saving(self, tmp_path: Path) -> None:
        saved = factors()
        saved.save(tmp_path)
        loaded = Factors.load(tmp_path)
        assert (loaded.user_ids, loaded.item_ids) == (saved.user_ids, saved.item_ids)
        assert (loaded.regularization, loaded.alpha) == (0.5, 2.0)
        np.testing.assert_array_equal(loaded.user_factors, saved.user_factors)
        np.testing.assert_array_equal(loaded.item_factors, saved.item_factors)

    def test_rows_are_found_by_id(self) -> None:
        assert [factors().user_row("u2"), factors().item_row("new\nline"), factors().user_row("u3")] == [1, 1, None]

    def test_a_row_too_many_is_corrupt(self, tmp_path: Path) -> None:
        factors().save(tmp_path)
        np.save(tmp_path / "item_factors.npy", np.zeros((99, 3), dtype=np.float32))
        with pytest.raises(ArtifactCorrupt, match="6 item ids"):
            Factors.load(tmp_path)

    def test_a_factor_that_is_not_finite_is_corrupt(self, tmp_path: Path) -> None:
        factors().save(tmp_path)
        np.save(tmp_path / "user_factors.npy", np.full((2, 3), np.nan, dtype=np.float32))
        with pytest.raises(ArtifactCorrupt, match="not finite"):
            Factors.load(tmp_path)

    def test_pickles_are_not_read(self, tmp_path: Path) -> None:
        factors().save(tmp_path)
        np.save(tmp_path / "user_factors.npy", np.array([{}], dtype=object), allow_pickle=True)
        with pytest.raises(ArtifactCorrupt):
            Factors.load(tmp_path)
