"""Rules that keep or drop candidates. Each says which ones it removed; none looks at scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from contracts.candidates import BoolArray, Candidates


class Rule(Protocol):
    """Decides which candidates may appear."""

    @property
    def name(self) -> str:
        """The name that removals carry."""

    def drops(self, candidates: Candidates) -> BoolArray:
        """True for each candidate that must not appear, shape (n,)."""


@dataclass(frozen=True, slots=True)
class HiddenRule:
    """Drops what the shop hides, in the catalogue or by configuration."""

    hidden_ids: frozenset[str] = frozenset()
    name: str = "hidden"

    def drops(self, candidates: Candidates) -> BoolArray:
        """True for each hidden candidate."""
        return candidates.hidden | _among(candidates, self.hidden_ids)


@dataclass(frozen=True, slots=True)
class OutOfStockRule:
    """Drops what cannot be bought."""

    name: str = "out_of_stock"

    def drops(self, candidates: Candidates) -> BoolArray:
        """True for each candidate out of stock."""
        return ~candidates.in_stock


@dataclass(frozen=True, slots=True)
class ExcludedRule:
    """Drops what the request excludes."""

    excluded_ids: frozenset[str]
    name: str = "excluded"

    def drops(self, candidates: Candidates) -> BoolArray:
        """True for each excluded candidate."""
        return _among(candidates, self.excluded_ids)


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """
    What the rules left.

    Attributes:
        kept: The candidates that may appear, in input order.
        removed: Rule name to the products it removed, in input order; the first rule to drop one counts.
    """

    kept: Candidates
    removed: dict[str, list[str]]


def apply_rules(candidates: Candidates, rules: Sequence[Rule]) -> RuleOutcome:
    """Return what *rules*, in order, keep of *candidates* and what each removed."""
    dropped = np.zeros(len(candidates), dtype=np.bool_)
    removed: dict[str, list[str]] = {}
    for rule in rules:
        now = rule.drops(candidates) & ~dropped
        removed[rule.name] = [product_id for product_id, drop in zip(candidates.product_ids, now, strict=True) if drop]
        dropped |= now
    return RuleOutcome(kept=candidates.only(~dropped), removed=removed)


def _among(candidates: Candidates, product_ids: frozenset[str]) -> BoolArray:
    return np.fromiter(
        (product_id in product_ids for product_id in candidates.product_ids), dtype=np.bool_, count=len(candidates)
    )
