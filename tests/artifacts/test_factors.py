from __future__ import annotations

import dataclasses
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
        event_counts=np.array([3, 0], dtype=np.int64),
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
        assert [loaded.event_count(user) for user in ("u1", "u2", "u3")] == [3, 0, None]

    def test_a_version_without_event_counts_knows_none(self, tmp_path: Path) -> None:
        dataclasses.replace(factors(), event_counts=None).save(tmp_path)
        assert Factors.load(tmp_path).event_count("u1") is None

    def test_the_gram_matrix_is_that_of_the_item_factors(self) -> None:
        items = factors().item_factors.astype(np.float64)
        np.testing.assert_allclose(factors().gram, items.T @ items)

    def test_event_counts_of_other_users_are_corrupt(self) -> None:
        with pytest.raises(ArtifactCorrupt, match="event counts"):
            dataclasses.replace(factors(), event_counts=np.zeros(3, dtype=np.int64))

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
