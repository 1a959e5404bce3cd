"""Whether artifacts that a replica has loaded can still be used, asked now and then."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from artifacts.factors import Factors
from artifacts.nearest import nearest_products

T = TypeVar("T")
QUERY = "health"


class _Probe(Generic[T]):
    """
    Asks the version in use the same question each time.

    Only a version that has answered can fail: one that never did is a bad artifact, and a fresh process would load the
    same again.
    """

    def __init__(self, active: ActiveArtifact[T]) -> None:
        self._active = active
        self._answered: str | None = None

    def __call__(self) -> str | None:
        """Return what is wrong with the version in use, or None."""
        loaded = self._active.current
        if loaded is None:
            return None
        try:
            problem = self._problem(loaded.value)
        except Exception as error:  # noqa: BLE001 - as bad as a wrong answer
            problem = f"{type(error).__name__}: {error}"
        if problem is None:
            self._answered = loaded.version
        elif self._answered == loaded.version:
            return f"{loaded.version} {problem}, though it did when it was loaded"
        return None

    def _problem(self, value: T) -> str | None:
        raise NotImplementedError


class IndexProbe(_Probe[EmbeddingIndex]):
    """Puts one query to the index in use, through its encoder: about two milliseconds."""

    def _problem(self, value: EmbeddingIndex) -> str | None:
        found = nearest_products(value.index, value.product_ids, value.encoder.encode([QUERY])[0], limit=1)
        if len(found) != min(1, len(value.product_ids)) or not all(np.isfinite(score) for _, score in found):
            return "does not answer a query"
        return None


class FactorsProbe(_Probe[Factors]):
    """Multiplies the first user with the first item."""

    def _problem(self, value: Factors) -> str | None:
        if not len(value.user_factors) or not len(value.item_factors):
            return None
        if not np.isfinite(float(value.user_factors[0] @ value.item_factors[0])):
            return "has a factor that is not finite"
        return None
