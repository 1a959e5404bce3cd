"""What recommends: by factors, and two references that know nothing of their user."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.best_of_rows import best_of_rows
from evaluation.metrics import Lists, SparseMatrix

_BATCH = 512
Rows = NDArray[np.int64]


class Recommender(Protocol):
    """Lists items that their users do not know yet."""

    def recommend(self, users: Rows, known: SparseMatrix, limit: int) -> Lists:
        """
        Return the best items for each of *users*, int32, shape (n, limit); -1 beyond the last one.

        Args:
            users: Shape (n,), rows of the matrix that was learned from.
            known: CSR matrix (n, items), row by row what each of *users* knows: never listed.
            limit: Most items of a list, at least 1.
        """
        ...


def without_known(scores: NDArray[np.float32], known: SparseMatrix) -> NDArray[np.float32]:
    """The same array, what is *known* set to minus infinity."""
    scores[np.repeat(np.arange(len(scores)), np.diff(known.indptr)), known.indices] = -np.inf
    return scores


class FactorRecommender:
    """
    The largest dot products, equal ones by item row.

    Args:
        user_factors: float32, shape (users, f).
        item_factors: float32, shape (items, f).
        threads: How many search side by side; 0: one a core.
    """

    def __init__(
        self, user_factors: NDArray[np.float32], item_factors: NDArray[np.float32], *, threads: int = 0
    ) -> None:
        self._users = user_factors
        self._items = item_factors
        self._threads = threads

    def recommend(self, users: Rows, known: SparseMatrix, limit: int) -> Lists:
        """See `Recommender`."""
        found = np.empty((len(users), limit), dtype=np.int32)
        with threadpool_limits(limits=self._threads or None, user_api="blas"):
            for first in range(0, len(users), _BATCH):
                batch = slice(first, first + _BATCH)
                scores = self._users[users[batch]] @ self._items.T
                found[batch] = best_of_rows(without_known(scores, known[batch]), limit)
        return found


class PopularityRecommender(FactorRecommender):
    """
    The items that most users know, the same for everybody.

    Args:
        known: CSR matrix (users, items): what is counted.
    """

    def __init__(self, known: SparseMatrix, *, threads: int = 0) -> None:
        counts = np.bincount(known.indices, minlength=known.shape[1]).astype(np.float32)
        super().__init__(np.ones((known.shape[0], 1), np.float32), counts[:, None], threads=threads)


class RandomRecommender:
    """
    Any items, for what is reached by chance.

    Args:
        items: How many there are.
        seed: The same seed gives the same lists to the same users.
    """

    def __init__(self, items: int, *, seed: int = 0) -> None:
        self._items = items
        self._seed = seed

    def recommend(self, users: Rows, known: SparseMatrix, limit: int) -> Lists:
        """See `Recommender`."""
        found = np.full((len(users), limit), -1, dtype=np.int32)
        for row, user in enumerate(users.tolist()):
            mine = known.indices[known.indptr[row] : known.indptr[row + 1]]
            generator = np.random.default_rng((self._seed, user))
            drawn = generator.choice(self._items, size=min(self._items, limit + len(mine)), replace=False)
            fresh = drawn[~np.isin(drawn, mine)][:limit]
            found[row, : len(fresh)] = fresh
        return found


class GivenLists:
    """
    Lists that somebody else made.

    Args:
        users: Shape (n,), ascending: whose they are.
        lists: int32, shape (n, k).
    """

    def __init__(self, users: Rows, lists: Lists) -> None:
        self._users = users
        self._lists = lists

    def recommend(self, users: Rows, known: SparseMatrix, limit: int) -> Lists:
        """See `Recommender`, but that what is *known* stays where it was given."""
        del known
        return self._lists[np.searchsorted(self._users, users), :limit]
