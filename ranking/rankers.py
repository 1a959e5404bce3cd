"""Rankers put candidates in a total order: score in millionths, then product id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from contracts.candidates import Candidates, FloatArray, IntArray, RetrieverName
from contracts.ranked import Explanation, RankedHit, RankedPage, RankRequest
from ranking.config import RankingConfig
from ranking.features import affinity, collaborative, freshness
from ranking.rules import ExcludedRule, HiddenRule, OutOfStockRule, Rule, apply_rules
from ranking.scoring import MICROS, score


class ItemFactors(Protocol):
    """The item half of a factor model, as ranking needs it."""

    def rows_of(self, product_ids: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Positions in *product_ids* that have factors, shape (m,), and their factors, float32, shape (m, factors)."""


@dataclass(frozen=True, slots=True)
class FactorVersion:
    """One version of item factors, and the transform that makes its dot products a feature."""

    version: str
    factors: ItemFactors
    transform: Mapping[str, object] = field(default_factory=lambda: {"kind": "clip"})


@dataclass(frozen=True, slots=True)
class WeightedRanker:
    """
    The ranker of the graph: a mean of search, cf, popularity and freshness, weighted by the product's category.

    Attributes:
        config: Weights, half-life and rules.
        factor_versions: The item factors held, newest first; a user vector of any other version gives no ``cf``.
    """

    config: RankingConfig = field(default_factory=RankingConfig)
    factor_versions: tuple[FactorVersion, ...] = ()

    def rank(self, request: RankRequest) -> RankedPage:
        """Return the page of the order that *request* asks for."""
        rules = _rules(request, self.config.hidden_ids)
        outcome = apply_rules(request.candidates, rules)
        kept = outcome.kept
        cf, matched = self._cf(kept.product_ids, request)
        features = {
            "search": kept.search,
            "cf": cf,
            "popularity": kept.popularity,
            "freshness": freshness(kept.age_days, half_life_days=self.config.freshness_half_life_days),
        }
        return _page(
            request,
            kept,
            features,
            weights=self.config.weights_of(kept.categories),
            removed={name: len(product_ids) for name, product_ids in outcome.removed.items()},
            weights_version=self.config.version,
            cf_version=matched.version
            if matched
            else (self.factor_versions[0].version if self.factor_versions else None),
            version_mismatch=request.user_vector is not None and matched is None,
        )

    def _cf(self, product_ids: list[str], request: RankRequest) -> tuple[FloatArray, FactorVersion | None]:
        absent = np.full(len(product_ids), np.nan)
        matched = next((held for held in self.factor_versions if held.version == request.user_vector_version), None)
        if request.user_vector is None or matched is None:
            return absent, matched
        rows, factors = matched.factors.rows_of(product_ids)
        absent[rows] = collaborative(affinity(request.user_vector, factors), matched.transform)
        return absent, matched


@dataclass(frozen=True, slots=True)
class PopularityRanker:
    """The ranker that needs nothing: popularity alone. It stands in when the ranking deployment is down."""

    version: str = "popularity"

    def rank(self, request: RankRequest) -> RankedPage:
        """Return the page of *request* by ``popularity_score``; the drop rules apply as ever."""
        outcome = apply_rules(request.candidates, _rules(request, frozenset()))
        popularity = np.nan_to_num(outcome.kept.popularity, nan=0.0)
        return _page(
            request,
            outcome.kept,
            {"popularity": popularity},
            weights={"popularity": 1.0},
            removed={name: len(product_ids) for name, product_ids in outcome.removed.items()},
            weights_version=self.version,
            cf_version=None,
            version_mismatch=False,
        )


def _rules(request: RankRequest, hidden_ids: frozenset[str]) -> list[Rule]:
    rules: list[Rule] = [HiddenRule(hidden_ids)]
    if not request.keep_out_of_stock:
        rules.append(OutOfStockRule())
    rules.append(ExcludedRule(request.excluded_ids))
    return rules


def _page(
    request: RankRequest,
    kept: Candidates,
    features: dict[str, FloatArray],
    *,
    weights: Mapping[str, float | FloatArray],
    removed: dict[str, int],
    weights_version: str,
    cf_version: str | None,
    version_mismatch: bool,
) -> RankedPage:
    scores = score(features, weights)
    order = total_order(scores.micros, kept.product_ids)[request.offset : request.offset + request.limit]
    hits = []
    for place, row in enumerate(order, start=request.offset + 1):
        explanation = None
        if request.explain:
            explanation = Explanation(
                weights={name: round(float(values[row]), 6) for name, values in scores.effective_weights.items()},
                contributions={name: int(parts[row]) / MICROS for name, parts in scores.contributions.items()},
                rules=[],
                retrievers={
                    name: {"rank": int(placing.ranks[row]), "score": round(float(placing.scores[row]), 6)}
                    for name, placing in kept.placings.items()
                    if placing.ranks[row] > 0
                },
            )
        hits.append(
            RankedHit(
                product_id=kept.product_ids[row],
                rank=place,
                score=int(scores.micros[row]) / MICROS,
                retriever=_best_retriever(kept, row),
                features={name: _value(values[row]) for name, values in features.items()},
                explanation=explanation,
            )
        )
    return RankedPage(
        hits=hits,
        kept=len(kept),
        removed=removed,
        weights_version=weights_version,
        cf_version=cf_version,
        version_mismatch=version_mismatch,
    )


def total_order(micros: IntArray, product_ids: list[str]) -> list[int]:
    """Return the rows by score, highest first; equal scores by product id. The same rows in any input order."""
    return sorted(range(len(product_ids)), key=lambda row: (-int(micros[row]), product_ids[row]))


def _best_retriever(candidates: Candidates, row: int) -> RetrieverName | None:
    """The retriever that placed the candidate highest; at equal rank the first named."""
    found = [(int(placing.ranks[row]), name) for name, placing in candidates.placings.items() if placing.ranks[row] > 0]
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _value(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 6)
