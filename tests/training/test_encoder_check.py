from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from training.encoder_check import fidelity, require_fidelity
from training.errors import QualityTooLow

TEXTS = [f"text {number}" for number in range(30)]


def original(texts: Sequence[str]) -> NDArray[np.float32]:
    vectors = np.array([np.random.default_rng(len(text) + sum(text.encode())).normal(size=8) for text in texts])
    unit: NDArray[np.float32] = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def reversed_axes(texts: Sequence[str]) -> NDArray[np.float32]:
    return original(texts)[:, ::-1]


class TestFidelity:
    def test_the_original_follows_itself(self) -> None:
        metrics = fidelity(original, original, TEXTS, TEXTS[:5])
        assert metrics == {"cosine_mean": 1.0, "cosine_min": 1.0, "overlap_at_10": 1.0}
        require_fidelity(metrics)

    def test_another_encoder_is_found_out(self) -> None:
        metrics = fidelity(original, reversed_axes, TEXTS, TEXTS[:5])
        assert metrics["cosine_mean"] < 0.5
        with pytest.raises(QualityTooLow, match="cosine_mean"):
            require_fidelity(metrics)

    def test_a_figure_that_is_not_a_number_is_refused(self) -> None:
        with pytest.raises(QualityTooLow):
            require_fidelity({"cosine_mean": float("nan"), "cosine_min": 1.0})
