from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from training.encoder_check import fidelity, pairs_fidelity, require_fidelity
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

    def test_one_that_ranks_worse_than_its_original_is_refused_with_both_figures(self) -> None:
        sound = {"cosine_mean": 1.0, "cosine_min": 1.0, "pairs": 50, "pairs_ndcg_at_10_original": 0.8}
        require_fidelity(sound | {"pairs_ndcg_at_10": 0.78})
        with pytest.raises(QualityTooLow, match=r"0.77 against 0.8"):
            require_fidelity(sound | {"pairs_ndcg_at_10": 0.77})

    def test_a_few_pairs_decide_nothing(self) -> None:
        sound = {"cosine_mean": 1.0, "cosine_min": 1.0, "pairs": 49, "pairs_ndcg_at_10_original": 0.8}
        require_fidelity(sound | {"pairs_ndcg_at_10": 0.1})


OF_ALL_LENGTHS = ["x" * length for length in range(1, 31)]


class TestPairsFidelity:
    def test_texts_that_are_their_own_titles_are_all_found(self) -> None:
        metrics = pairs_fidelity(original, reversed_axes, OF_ALL_LENGTHS, OF_ALL_LENGTHS)
        assert metrics == {"pairs": 30, "pairs_ndcg_at_10": 1.0, "pairs_ndcg_at_10_original": 1.0}

    def test_an_encoder_that_tells_texts_apart_worse_finds_less(self) -> None:
        def one_axis(texts: Sequence[str]) -> NDArray[np.float32]:
            signs: NDArray[np.float32] = np.sign(original(texts)[:, :2]).astype(np.float32)
            return signs / np.float32(2**0.5)

        metrics = pairs_fidelity(original, one_axis, OF_ALL_LENGTHS, OF_ALL_LENGTHS)
        assert metrics["pairs_ndcg_at_10"] < metrics["pairs_ndcg_at_10_original"]

    def test_empty_texts_make_no_pair_and_equal_ones_make_one(self) -> None:
        assert pairs_fidelity(original, original, ["a", "b", "c"], ["", "same", "same"])["pairs"] == 1

    def test_without_pairs_there_is_nothing_to_say(self) -> None:
        assert pairs_fidelity(original, original, ["a"], [""]) == {"pairs": 0}
