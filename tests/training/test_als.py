from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from scipy import sparse
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.metrics import SparseMatrix
from tests.training.made_up import checkerboard, tastes
from training.als import Alone, AlsSettings, Block, BlockFit, FloatMatrix, fit_factors
from training.blocks import CsrArrays, block_matrix, row_blocks, row_bounds

SETTINGS = AlsSettings(factors=2, alpha=20.0, regularization=0.01, iterations=15, seed=1)
TOLERANCE = 1e-5
"""Of a factor, against the largest: what blocks may change by rounding."""


class ThreadExchange:
    """Exchanges blocks between the threads of this process."""

    def __init__(self, rank: int, bounds: dict[str, list[int]], places: list[FloatMatrix], barrier: Barrier) -> None:
        self._rank, self._bounds, self._places, self._barrier = rank, bounds, places, barrier

    def gathered(self, block: FloatMatrix, side: str, *, pause: bool = False) -> tuple[FloatMatrix, bool]:
        self._places[self._rank] = block.copy()
        self._barrier.wait()
        whole = np.concatenate(self._places)
        assert len(whole) == self._bounds[side][-1]
        self._barrier.wait()
        return whole, pause


def fitted_in_blocks(matrix: SparseMatrix, settings: AlsSettings, workers: int) -> list[FloatMatrix]:
    transposed = matrix.T.tocsr()
    bounds = {"users": row_bounds(matrix, workers), "items": row_bounds(transposed, workers)}
    blocks = zip(row_blocks(matrix, bounds["users"]), row_blocks(transposed, bounds["items"]), strict=True)
    places: list[FloatMatrix] = [np.empty(0, np.float32)] * workers
    barrier = Barrier(workers, timeout=30)

    def block(side: str, rank: int, arrays: CsrArrays, columns: int) -> Block:
        return Block(range(*bounds[side][rank : rank + 2]), block_matrix(arrays, columns))

    def work(rank: int, arrays: tuple[CsrArrays, CsrArrays]) -> BlockFit:
        users, items = matrix.shape
        fit = BlockFit(
            block("users", rank, arrays[0], items), block("items", rank, arrays[1], users), settings, threads=1
        )
        fit.run(ThreadExchange(rank, bounds, places, barrier))
        return fit

    with ThreadPoolExecutor(workers) as threads:
        fits = list(threads.map(work, range(workers), blocks))
    return [np.concatenate([getattr(fit, f"{side}_factors") for fit in fits]) for side in ("user", "item")]


class TestFitFactors:
    def test_the_withheld_diagonal_of_a_checkerboard_comes_back(self) -> None:
        full = checkerboard(20)
        seen = full.copy()
        np.fill_diagonal(seen, 0)
        user_factors, item_factors = fit_factors(sparse.csr_matrix(seen), SETTINGS)
        scores = user_factors @ item_factors.T
        assert scores[full == 0].max() < 0.1
        assert np.diag(scores).min() > 0.9

    @pytest.mark.parametrize("threads", [1, 2])
    def test_it_is_what_implicit_itself_fits_whatever_the_threads(self, threads: int) -> None:
        matrix = tastes(500, 200, 12)
        settings = AlsSettings(factors=16, alpha=5.0, iterations=4)
        model = AlternatingLeastSquares(16, alpha=5.0, regularization=10.0, iterations=4, random_state=7, num_threads=1)
        with threadpool_limits(1, "blas"):
            model.fit(matrix, show_progress=False)
        user_factors, item_factors = fit_factors(matrix, settings, threads=threads)
        assert user_factors.tobytes() == model.user_factors.tobytes()
        assert item_factors.tobytes() == model.item_factors.tobytes()

    def test_the_matrix_is_left_as_it_was(self) -> None:
        matrix = tastes(50, 40, 5)
        fit_factors(matrix, AlsSettings(factors=4, alpha=9.0, iterations=1))
        assert matrix.data.max() == 1

    def test_factors_are_float32(self) -> None:
        factors = fit_factors(sparse.csr_matrix(checkerboard(6)), SETTINGS)
        assert [(each.dtype.name, each.shape) for each in factors] == [("float32", (6, 2))] * 2


class TestBlockFit:
    @pytest.mark.parametrize("workers", [2, 3, 5])
    def test_blocks_give_the_factors_of_the_whole_within_rounding(self, workers: int) -> None:
        matrix = tastes(400, 160, 10, seed=3)
        settings = AlsSettings(factors=16, alpha=8.0, regularization=5.0, iterations=5)
        whole = fit_factors(matrix, settings, threads=1)
        for together, apart in zip(whole, fitted_in_blocks(matrix, settings, workers), strict=True):
            assert np.abs(together - apart).max() <= TOLERANCE * np.abs(together).max()

    def test_it_goes_on_from_what_was_saved_as_if_it_had_not_stopped(self) -> None:
        matrix = tastes(200, 100, 8)
        settings = AlsSettings(factors=8, iterations=6)
        saved: list[tuple[int, FloatMatrix, FloatMatrix]] = []

        def save(fit: BlockFit) -> None:
            saved.append((fit.iteration, fit.user_factors.copy(), fit.item_factors.copy()))

        def blocks() -> tuple[Block, Block]:
            return Block(range(200), matrix.copy()), Block(range(100), matrix.T.tocsr())

        whole, rest = BlockFit(*blocks(), settings), BlockFit(*blocks(), settings)
        whole.run(Alone(), due=lambda: True, save=save)
        rest.resume(*saved[2])
        rest.run(Alone())
        assert [iteration for iteration, _, _ in saved] == [1, 2, 3, 4, 5]
        assert rest.user_factors.tobytes() == whole.user_factors.tobytes()
        assert rest.item_factors.tobytes() == whole.item_factors.tobytes()
