from __future__ import annotations

import numpy as np
import pytest

from artifacts.factors import Factors
from evaluation.agreement import UserLists, agreement
from evaluation.served import ServedList

ITEMS = [f"p{number:02}" for number in range(40)]
FACTORS = Factors(
    user_ids=["ann", "bob"],
    item_ids=ITEMS,
    user_factors=np.ones((2, 1), dtype=np.float32),
    item_factors=np.linspace(0.9, 0.1, 40, dtype=np.float32)[:, None],
    regularization=1.0,
    alpha=1.0,
)
BEST = ITEMS[:20]
CF = dict(zip(ITEMS, FACTORS.item_factors[:, 0].tolist(), strict=True))
CLIP = {"kind": "clip"}


def lists(
    served: list[str],
    *,
    version: str | None = "v1",
    vector: str | None = "factors",
    off: float = 0.0,
    known: tuple[str, ...] = (),
    degraded: tuple[str, ...] = (),
) -> UserLists:
    cf = [CF[product] + off if product in CF else None for product in served]
    return UserLists("ann", ServedList(served, cf, version, vector, degraded), BEST, frozenset(known))


class TestAgreement:
    def test_lists_that_are_the_same_agree_in_everything(self) -> None:
        found = agreement([lists(ITEMS)], FACTORS, version="v1", transform=CLIP)
        assert {each.mean for each in found.figures.values()} == {1.0}
        assert found.missing == found.added == {}
        assert found.faults() == []
        assert found.cf_compared == 40

    def test_why_products_are_missing_is_said_in_shares_of_the_offline_lists(self) -> None:
        served = [*BEST[:10], *ITEMS[20:30], *BEST[10:15]]
        found = agreement([lists(served)], FACTORS, version="v1", transform=CLIP, unavailable={"p19"})
        assert found.missing == {
            "placed lower by the ranking weights": 5 / 20,
            "no candidate: another vector, or left out by a rule": 4 / 20,
            "hidden or out of stock": 1 / 20,
        }
        assert found.figures["overlap_at_20"].mean == 0.5
        assert found.figures["overlap_by_cf_at_20"].mean == 0.75

    def test_why_products_are_there_is_said_in_shares_of_the_served_lists(self) -> None:
        served = [*BEST[:17], "new", "p30", "p31"]
        found = agreement([lists(served, known=("p31",))], FACTORS, version="v1", transform=CLIP)
        assert found.added == {
            "unknown to the factors: placed by popularity and freshness": 0.05,
            "placed higher by the ranking weights": 0.05,
            "seen before but neither bought nor rated: shown again": 0.05,
        }

    def test_the_other_way_round_is_a_rank_correlation_of_minus_one(self) -> None:
        found = agreement([lists(BEST[::-1])], FACTORS, version="v1", transform=CLIP)
        assert found.figures["rank_correlation"].mean == pytest.approx(-1)

    def test_another_version_is_a_fault(self) -> None:
        asked = [lists(ITEMS), lists(ITEMS, version="v0"), lists(ITEMS, version=None)]
        (fault,) = agreement(asked, FACTORS, version="v1", transform=CLIP).faults()
        assert "2 of 3 answers come from another version (none, v0)" in fault

    def test_a_cf_that_the_factors_do_not_give_is_a_fault(self) -> None:
        (fault,) = agreement([lists(ITEMS, off=0.01)], FACTORS, version="v1", transform=CLIP).faults()
        assert "0.0100" in fault

    def test_a_vector_with_events_since_training_is_none(self) -> None:
        found = agreement([lists(ITEMS, off=0.01, vector="fold_in")], FACTORS, version="v1", transform=CLIP)
        assert found.faults() == []
        assert found.vectors == {"fold_in": 1}
        assert found.cf_compared == 0

    def test_a_part_that_something_stood_in_for_is_a_fault(self) -> None:
        asked = [lists(ITEMS, degraded=("collaborative: popular (timeout)",))]
        (fault,) = agreement(asked, FACTORS, version="v1", transform=CLIP).faults()
        assert "collaborative: popular (timeout): 1" in fault
