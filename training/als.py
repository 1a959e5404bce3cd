"""Factors by alternating least squares over implicit feedback, solved by implicit block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from implicit.cpu.als import AlternatingLeastSquares
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.metrics import SparseMatrix

_ROWS_AT_ONCE = 4096
FloatMatrix = NDArray[np.float32]


@dataclass(frozen=True)
class AlsSettings:
    """
    How to fit.

    The defaults were the best compromise over MovieLens-100K (films), X-Wines (a few ratings a user) and Online
    Retail (repeated purchases); docs/training.md has the figures.

    Args:
        factors: Dimension.
        alpha: What a confidence is multiplied by: implicit's c is alpha times the confidence, not 1 more.
        regularization: Lambda, the same for every row however many interactions it has.
        iterations: Rounds of users, then items.
        seed: Start of the random numbers.
    """

    factors: int = 32
    alpha: float = 1.0
    regularization: float = 10.0
    iterations: int = 15
    seed: int = 7

    def as_parameters(self) -> dict[str, float]:
        """As a manifest records it."""
        return asdict(self)


@dataclass(frozen=True)
class Block:
    """
    The rows of a matrix that one worker solves.

    Args:
        rows: Which.
        interactions: CSR matrix (len(rows), columns), float32, writable.
    """

    rows: range
    interactions: SparseMatrix


class Exchange(Protocol):
    """How workers give each other the factors they solved."""

    def gathered(self, block: FloatMatrix, side: str, *, pause: bool = False) -> tuple[FloatMatrix, bool]:
        """
        Return the factors of all rows of *side*, ``users`` or ``items``, and whether any worker asks for a *pause*.

        Every worker calls it equally often, and waits for the others.
        """
        ...


class Alone:
    """The exchange of one worker, whose block is everything."""

    def gathered(self, block: FloatMatrix, side: str, *, pause: bool = False) -> tuple[FloatMatrix, bool]:
        """See `Exchange`."""
        del side
        return block, pause


class BlockFit:
    """
    The state of a fit in one worker: the factors of its users and of its items.

    Args:
        users: What it solves of the matrix (users, items).
        items: What it solves of the transposed matrix.
        settings: How to fit.
        threads: Rows solved side by side; 0: one a core. It changes no bit of the result: each row is solved by one
            thread, and what all rows share is computed before.
    """

    def __init__(self, users: Block, items: Block, settings: AlsSettings, *, threads: int = 0) -> None:
        self._users, self._items = users, items
        self._settings = settings
        self._threads = threads
        self.iteration = 0
        for block in (users, items):
            block.interactions.data *= np.float32(settings.alpha)
        shape = users.interactions.shape[1], items.interactions.shape[1]
        self.user_factors, self.item_factors = _initial(users.rows, items.rows, shape[1], shape[0], settings)

    def resume(self, iteration: int, user_factors: FloatMatrix, item_factors: FloatMatrix) -> None:
        """Go on from the factors of the blocks after *iteration* rounds."""
        self.iteration, self.user_factors, self.item_factors = iteration, user_factors, item_factors

    def run(
        self,
        exchange: Exchange,
        *,
        due: Callable[[], bool] = lambda: False,
        save: Callable[[BlockFit], None] = lambda _: None,
        tell: Callable[[int], None] = lambda _: None,
    ) -> None:
        """
        Go through the rounds that are left.

        Args:
            exchange: Of this worker.
            due: Whether it is time to save; when one worker says so, all save at the end of the round.
            save: Keeps the state.
            tell: Called after each round with its number.
        """
        settings = self._settings
        with threadpool_limits(limits=1, user_api="blas"):
            model = AlternatingLeastSquares(settings.factors, settings.regularization, num_threads=self._threads)
            while self.iteration < settings.iterations:
                others, _ = exchange.gathered(self.item_factors, "items")
                self._solve(model, self._users, self.user_factors, others)
                del others
                others, pause = exchange.gathered(self.user_factors, "users", pause=due())
                self._solve(model, self._items, self.item_factors, others)
                del others
                self.iteration += 1
                tell(self.iteration)
                if pause and self.iteration < settings.iterations:
                    save(self)

    def _solve(self, model: AlternatingLeastSquares, block: Block, factors: FloatMatrix, others: FloatMatrix) -> None:
        """Solve each row of *factors* for the *others*, in place."""
        model.solver(block.interactions, factors, others, self._settings.regularization, num_threads=self._threads)


def fit_factors(matrix: SparseMatrix, settings: AlsSettings, *, threads: int = 0) -> tuple[FloatMatrix, FloatMatrix]:
    """
    Return user and item factors, float32 of shape (users, factors) and (items, factors).

    Args:
        matrix: CSR matrix (users, items) of confidences above 0. The same matrix and settings give the same bytes as
            implicit's own ``fit`` on the same machine, whatever the number of threads.
        settings: How to fit.
        threads: Rows solved side by side; 0: one a core.

    Source:
        Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008; solved by conjugate
        gradient as in Takács, Pilászy, Tikk, "Applications of the conjugate gradient method for implicit feedback
        collaborative filtering", 2011.
    """
    by_user = matrix.astype(np.float32)
    users = Block(range(matrix.shape[0]), by_user)
    fit = BlockFit(users, Block(range(matrix.shape[1]), by_user.T.tocsr()), settings, threads=threads)
    fit.run(Alone())
    return fit.user_factors, fit.item_factors


def _initial(
    users: range, items: range, all_users: int, all_items: int, settings: AlsSettings
) -> tuple[FloatMatrix, FloatMatrix]:
    """The factors of *users* and *items* that implicit begins with, drawn without holding those of all rows."""
    generator = np.random.default_rng(settings.seed)
    return (
        _drawn(generator, users, all_users, settings.factors),
        _drawn(generator, items, all_items, settings.factors),
    )


def _drawn(generator: np.random.Generator, rows: range, count: int, factors: int) -> FloatMatrix:
    """The *rows* of a random matrix (count, factors); the generator moves past all of it."""
    kept = np.empty((len(rows), factors), dtype=np.float32)
    for first in range(0, count, _ROWS_AT_ONCE):
        drawn = generator.random((min(_ROWS_AT_ONCE, count - first), factors), dtype=np.float32)
        low, high = max(first, rows.start), min(first + len(drawn), rows.stop)
        if low < high:
            kept[low - rows.start : high - rows.start] = drawn[low - first : high - first]
    kept *= np.float32(0.01)
    return kept
