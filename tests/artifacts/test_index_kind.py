from __future__ import annotations

import pytest

from artifacts.index_kind import kind_of, search_parameters, set_search_parameters
from tests.artifacts.test_nearest import KINDS, made
from tests.artifacts.vectors import unit_rows

VECTORS = unit_rows(1, 640, 64)


class TestKindOf:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_kind_is_named_as_it_was_asked_for(self, kind: str) -> None:
        assert kind_of(made(kind, VECTORS)) == kind.replace("RFlat", "Refine(Flat)")


class TestSearchParameters:
    @pytest.mark.parametrize("kind", KINDS)
    def test_what_is_set_is_what_is_read(self, kind: str) -> None:
        index = made(kind, VECTORS)
        wanted = {name: value + 3 for name, value in search_parameters(index).items()}
        set_search_parameters(index, wanted)
        assert search_parameters(index) == wanted

    def test_an_index_that_looks_at_everything_has_none(self) -> None:
        assert search_parameters(made("Flat", VECTORS)) == {}

    @pytest.mark.parametrize(
        ("kind", "parameters"),
        [
            ("Flat", {"nprobe": 1}),
            ("IVF16,SQ8", {}),
            ("IVF16,SQ8", {"efSearch": 8}),
            ("IVF16,SQ8", {"nprobe": 0}),
            ("IVF16,SQ8", {"nprobe": 17}),
            ("IVF16,SQ8", {"nprobe": "8"}),
            ("HNSW16", {"efSearch": True}),
        ],
    )
    def test_what_does_not_fit_is_refused(self, kind: str, parameters: dict[str, object]) -> None:
        index = made(kind, VECTORS)
        before = search_parameters(index)
        with pytest.raises(ValueError, match=r"nprobe|efSearch"):
            set_search_parameters(index, parameters)
        assert search_parameters(index) == before
