"""What decides the order, as configuration: weights, the freshness half-life and the rules."""

# Pydantic reads these annotations at run time.
import hashlib
import math
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FEATURES = ("search", "cf", "popularity", "freshness")

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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
        freshness_half_life_days: Age at which freshness is one half.
        hidden_ids: Products never shown, on top of those the catalogue hides.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: Weights = Weights()
    freshness_half_life_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 365.0
    hidden_ids: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """The first 12 hexadecimal digits of the configuration's SHA-256, equal for equal configurations."""
        hidden = ",".join(sorted(self.hidden_ids))
        text = f"{self.weights.model_dump_json()}|{self.freshness_half_life_days!r}|{hidden}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]
