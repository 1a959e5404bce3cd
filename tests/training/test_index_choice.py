from __future__ import annotations

import faiss
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.index_choice import EXACT_UP_TO, index_plan, kind_for


class TestKindFor:
    @pytest.mark.parametrize(
        ("count", "kind"),
        [
            (1, "Flat"),
            (1_682, "Flat"),
            (EXACT_UP_TO, "Flat"),
            (EXACT_UP_TO + 1, "IVF256,SQ8"),
            (100_000, "IVF512,SQ8"),
            (1_000_000, "IVF2048,SQ8"),
            (10_000_000, "IVF8192,SQ8"),
        ],
    )
    def test_it_follows_from_the_size(self, count: int, kind: str) -> None:
        assert kind_for(count) == kind

    @given(st.integers(1, 10**8))
    def test_it_is_a_kind_of_index_with_enough_to_train_on(self, count: int) -> None:
        plan = index_plan(count)
        assert faiss.index_factory(8, plan.kind, faiss.METRIC_INNER_PRODUCT).ntotal == 0
        assert plan.trained_on <= count
        if plan.steps:
            assert plan.trained_on >= 39 * plan.steps[-1]


class TestIndexPlan:
    def test_a_kind_that_was_asked_for_is_taken_whatever_the_size(self) -> None:
        assert index_plan(50, "IVF2,Flat").kind == "IVF2,Flat"

    def test_lists_are_tried_from_one_to_all(self) -> None:
        plan = index_plan(100_000)
        assert (plan.parameter, plan.steps[0], plan.steps[-1]) == ("nprobe", 1, 512)
        assert list(plan.steps) == sorted(set(plan.steps))

    def test_a_graph_is_tuned_by_the_nodes_it_visits(self) -> None:
        assert index_plan(100_000, "HNSW32,SQ8").parameter == "efSearch"

    def test_an_exact_index_is_neither_trained_nor_tuned(self) -> None:
        plan = index_plan(100)
        assert (plan.trained_on, plan.parameter, plan.steps) == (0, None, ())
