"""What decides the order, as configuration: weights, the freshness half-life and the rules."""

# Pydantic reads these annotations at run time.
import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.candidates import FloatArray

FEATURES = ("search", "cf", "popularity", "freshness")

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
CategoryName = Annotated[str, Field(min_length=1, max_length=256)]


class Weights(BaseModel):
    """The weight of each feature. They need not add up to one: an absent feature's weight is redistributed anyway."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    search: Weight = 0.4
    cf: Weight = 0.3
    popularity: Weight = 0.2
    freshness: Weight = 0.1

    @model_validator(mode="after")
    def _weighs_something(self) -> Self:
        if math.fsum(self.of(feature) for feature in FEATURES) <= 0:
            raise ValueError("at least one weight must be above 0")
        return self

    def of(self, feature: str) -> float:
        """The weight of *feature*, one of ``FEATURES``."""
        return float(getattr(self, feature))


class RankingConfig(BaseModel):
    """
    The ranking configuration; its version appears in every answer as ``versions.weights``.

    Attributes:
        weights: The weight of each feature.
        category_weights: Weights of products of a category, by its name, in place of ``weights``.
        freshness_half_life_days: Age at which freshness is one half.
        hidden_ids: Products never shown, on top of those the catalogue hides.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Weights = Weights()
    category_weights: Annotated[dict[CategoryName, Weights], Field(max_length=1000)] = {}
    freshness_half_life_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 365.0
    hidden_ids: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """The first 12 hexadecimal digits of the configuration's SHA-256, equal for equal configurations."""
        hidden = ",".join(sorted(self.hidden_ids))
        parts = [self.weights.model_dump_json(), repr(self.freshness_half_life_days), hidden]
        parts += [f"{name!r}:{self.category_weights[name].model_dump_json()}" for name in sorted(self.category_weights)]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()[:12]

    def weights_of(self, categories: Sequence[str | None]) -> Mapping[str, float | FloatArray]:
        """
        Return the weight of each feature: one for all products, or one a product where their categories decide.

        Args:
            categories: Of the products, length n, None where a product has none; or empty, where none is known.

        Returns:
            By feature: a number, or float64 of shape (n,).
        """
        if not self.category_weights or not categories:
            return {feature: self.weights.of(feature) for feature in FEATURES}
        rows = {name: row for row, name in enumerate(self.category_weights, start=1)}
        table = [self.weights, *self.category_weights.values()]
        chosen = np.array([rows.get(category, 0) if category else 0 for category in categories], dtype=np.int64)
        return {feature: np.array([each.of(feature) for each in table])[chosen] for feature in FEATURES}
