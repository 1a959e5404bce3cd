"""How well settings would have done: a fit without a part of the interactions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from evaluation.baselines import ItemKnnRecommender, bpr
from evaluation.holdout import after_a_time, last_of_each_user, some_of_each_user
from evaluation.metrics import SparseMatrix
from evaluation.recommendation import mean_metrics
from evaluation.recommenders import FactorRecommender, PopularityRecommender, Recommender
from training.als import AlsSettings, fit_factors
from training.errors import WrongInput
from training.interactions import HOLDOUT_COLUMN, Interactions

HoldoutKind = Literal["last", "time", "random", "given", "none"]
KINDS: tuple[HoldoutKind, ...] = get_args(HoldoutKind)
HOLDOUT_AT_LEAST = 5
_EVALUATED_USERS = 10_000


@dataclass(frozen=True)
class Holdout:
    """
    What is fitted to and what should be found.

    Args:
        known: CSR matrix (users, items) of what stays.
        wanted: CSR matrix of the same shape of what is withheld.
        users: Whom to ask for: rows, each with something withheld; at most ten thousand, drawn by the seed.
    """

    known: SparseMatrix
    wanted: SparseMatrix
    users: NDArray[np.int64]


@dataclass(frozen=True)
class HoldoutRule:
    """
    Which interactions to withhold.

    Args:
        kind: ``last`` of each user's, all after a ``time``, some of each user's at ``random``, as ``given`` by the
            data, or ``none``.
        share: In (0, 1).
        seed: For ``random``, and for the users that are asked for.
    """

    kind: HoldoutKind = "last"
    share: float = 0.2
    seed: int = 7

    def as_parameters(self) -> dict[str, Any]:
        """As a manifest records it."""
        if self.kind in ("none", "given"):
            return {"by": self.kind}
        least = {} if self.kind == "time" else {"at_least": HOLDOUT_AT_LEAST}
        return {"by": self.kind, "share": self.share, **least}

    def settled(self, interactions: Interactions) -> HoldoutRule:
        """The same; ``random`` instead of ``last`` where no interaction is later than another."""
        return replace(self, kind="random") if self.kind == "last" and _timeless(interactions) else self

    def cut(self, interactions: Interactions) -> Holdout | None:
        """
        Return the hold-out, or None where nothing can be withheld.

        Raises:
            WrongInput: the data names none, or has no times.
        """
        if self.kind == "none":
            return None
        withheld = self._withheld(interactions)
        known, wanted = interactions.matrix(~withheld), interactions.matrix(withheld)
        # Whom nothing is known of nobody can recommend to by what he did.
        users = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(known.indptr) > 0))
        if not len(users):
            return None
        users = np.sort(np.random.default_rng(self.seed).permutation(users)[:_EVALUATED_USERS])
        return Holdout(known, wanted, users)

    def _withheld(self, interactions: Interactions) -> NDArray[np.bool_]:
        if self.kind == "given":
            if interactions.withheld is None:
                raise WrongInput(f"The interactions have no column {HOLDOUT_COLUMN}, which --holdout=given reads.")
            return interactions.withheld
        if self.kind == "random":
            return some_of_each_user(interactions.users, share=self.share, at_least=HOLDOUT_AT_LEAST, seed=self.seed)
        times = interactions.last_at
        if _timeless(interactions):
            raise WrongInput(f"The interactions have no times, which --holdout={self.kind} goes by; take random.")
        if self.kind == "time":
            return after_a_time(times, share=self.share)
        return last_of_each_user(interactions.users, times, share=self.share, at_least=HOLDOUT_AT_LEAST)


def _timeless(interactions: Interactions) -> bool:
    times = interactions.last_at
    return len(times) > 0 and bool(times.min() == times.max())


def als_metrics(holdout: Holdout, settings: AlsSettings, *, threads: int = 0) -> dict[str, float]:
    """Fit to what is known and return how well the rest is found, by the names of `evaluation.metrics.MEASURES`."""
    factors = fit_factors(holdout.known, settings, threads=threads)
    return mean_metrics(FactorRecommender(*factors, threads=threads), holdout.known, holdout.wanted, holdout.users)


def baseline_metrics(holdout: Holdout, *, learned: bool, threads: int = 0) -> dict[str, float]:
    """Return the same of popularity, and of item-kNN and BPR where *learned*; names begin with the baseline's."""
    found: dict[str, float] = {}
    for name, recommender in _baselines(holdout.known, learned=learned, threads=threads):
        metrics = mean_metrics(recommender, holdout.known, holdout.wanted, holdout.users)
        found |= {f"{name}_{metric}": value for metric, value in metrics.items()}
    return found


def _baselines(known: SparseMatrix, *, learned: bool, threads: int) -> Iterator[tuple[str, Recommender]]:
    yield "popularity", PopularityRecommender(known, threads=threads)
    if learned:
        yield "item_knn", ItemKnnRecommender(known, threads=threads)
        yield "bpr", bpr(known, threads=threads)
