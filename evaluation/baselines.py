"""Models that a factor model has to beat, by implicit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from implicit.cpu.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender, TFIDFRecommender
from implicit.utils import ParameterWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.best_of_rows import best_of_rows
from evaluation.metrics import Lists, SparseMatrix
from evaluation.recommenders import (
    FactorRecommender,
    PopularityRecommender,
    RandomRecommender,
    Recommender,
    Rows,
    without_known,
)

_MEASURES = {"cosine": CosineRecommender, "tfidf": TFIDFRecommender, "bm25": BM25Recommender}
_BATCH = 512


@dataclass(frozen=True)
class ItemKnnSettings:
    """
    How item-kNN fits.

    Args:
        neighbours: Items kept as similar to an item.
        measure: ``cosine``, ``tfidf`` or ``bm25`` (see implicit).
    """

    neighbours: int = 100
    measure: str = "bm25"


@dataclass(frozen=True)
class BprSettings:
    """How Bayesian personalised ranking fits; fields as implicit names them."""

    factors: int = 64
    learning_rate: float = 0.01
    regularization: float = 0.01
    iterations: int = 100
    seed: int = 7


class ItemKnnRecommender:
    """
    Items similar to those a user knows, similarities added up.

    Args:
        matrix: CSR matrix (users, items) of confidences above 0.
        settings: How to fit.
        threads: 0: one a core.

    Source:
        Sarwar et al., "Item-based collaborative filtering recommendation algorithms", 2001.
    """

    def __init__(self, matrix: SparseMatrix, settings: ItemKnnSettings | None = None, *, threads: int = 0) -> None:
        settings = settings or ItemKnnSettings()
        model = _MEASURES[settings.measure](K=settings.neighbours, num_threads=threads)
        with warnings.catch_warnings():
            # It converts a matrix of its own from one kind into another, and says so.
            warnings.simplefilter("ignore", ParameterWarning)
            model.fit(matrix.astype(np.float64), show_progress=False)
        self._similarity = model.similarity.astype(np.float32)
        self._matrix = matrix

    def recommend(self, users: Rows, known: SparseMatrix, limit: int) -> Lists:
        """See `Recommender`; an item that is similar to none of the user's is not listed."""
        found = np.empty((len(users), limit), dtype=np.int32)
        for first in range(0, len(users), _BATCH):
            batch = slice(first, first + _BATCH)
            scores = (self._matrix[users[batch]] @ self._similarity).toarray()
            scores[scores <= 0] = -np.inf
            found[batch] = best_of_rows(without_known(scores, known[batch]), limit)
        return found


def bpr(matrix: SparseMatrix, settings: BprSettings | None = None, *, threads: int = 0) -> FactorRecommender:
    """
    Return a recommender by Bayesian personalised ranking; with several threads no two fits are quite the same.

    Source:
        Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback", 2009.
    """
    settings = settings or BprSettings()
    model = BayesianPersonalizedRanking(
        factors=settings.factors,
        learning_rate=settings.learning_rate,
        regularization=settings.regularization,
        iterations=settings.iterations,
        random_state=settings.seed,
        num_threads=threads,
    )
    with threadpool_limits(limits=1, user_api="blas"):
        # A copy: what comes out of an object store cannot be written to, and implicit asks for what can.
        model.fit(matrix.copy(), show_progress=False)
    return FactorRecommender(model.user_factors, model.item_factors, threads=threads)


def baselines(matrix: SparseMatrix, *, threads: int = 0) -> Iterator[tuple[str, Recommender]]:
    """Random, popularity, item-kNN and BPR, with their names, each fitted to *matrix* when its turn comes."""
    yield "random", RandomRecommender(matrix.shape[1])
    yield "popularity", PopularityRecommender(matrix, threads=threads)
    yield "item-kNN", ItemKnnRecommender(matrix, threads=threads)
    yield "BPR", bpr(matrix, threads=threads)
