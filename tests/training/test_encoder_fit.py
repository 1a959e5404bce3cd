from __future__ import annotations

import numpy as np
import pytest
import torch

from training.encoder_fit import batch_rows, contrastive_loss

DIFFERENT = torch.arange(4)


class TestContrastiveLoss:
    def test_pairs_that_are_nearest_to_each_other_cost_next_to_nothing(self) -> None:
        loss = contrastive_loss(torch.eye(4), torch.eye(4), DIFFERENT, DIFFERENT, scale=20)
        assert loss.item() < 1e-6

    def test_without_a_clue_it_is_the_logarithm_of_the_batch(self) -> None:
        same = torch.ones(4, 4) / 2
        assert contrastive_loss(same, same, DIFFERENT, DIFFERENT, scale=20).item() == pytest.approx(np.log(4))

    @pytest.mark.parametrize("which", ["query", "document"])
    def test_rows_of_the_same_text_are_no_wrong_answers(self, which: str) -> None:
        vectors = torch.eye(4)[[0, 0, 2, 3]]
        twice = torch.tensor([0, 0, 2, 3])
        numbers = (twice, DIFFERENT) if which == "query" else (DIFFERENT, twice)
        assert contrastive_loss(vectors, vectors, *numbers, scale=20).item() < 1e-6
        assert contrastive_loss(vectors, vectors, DIFFERENT, DIFFERENT, scale=20).item() > 0.3

    def test_a_step_along_the_gradient_lowers_it(self) -> None:
        torch.manual_seed(1)
        queries = torch.randn(4, 6, requires_grad=True)
        documents = torch.randn(4, 6)

        def loss() -> torch.Tensor:
            return contrastive_loss(queries, documents, DIFFERENT, DIFFERENT, scale=1)

        before = loss()
        before.backward()  # type: ignore[no-untyped-call]
        assert queries.grad is not None
        with torch.no_grad():
            queries -= 0.1 * queries.grad
        assert loss() < before


class TestBatchRows:
    @pytest.mark.parametrize("workers", [1, 3])
    def test_an_epoch_sees_every_pair_once_but_for_an_odd_rest(self, workers: int) -> None:
        steps = 100 // (8 * workers)
        seen = [
            batch_rows(100, step, batch=8, rank=rank, workers=workers, seed=1)
            for step in range(steps)
            for rank in range(workers)
        ]
        assert all(len(rows) == 8 for rows in seen)
        assert len(set(np.concatenate(seen).tolist())) == steps * 8 * workers

    def test_each_epoch_has_an_order_of_its_own_that_comes_again(self) -> None:
        first, second, again = (
            batch_rows(100, step, batch=100, rank=0, workers=1, seed=1).tolist() for step in (0, 1, 0)
        )
        assert first == again != second
        assert sorted(first) == sorted(second) == list(range(100))
