from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from artifacts.id_map import IdMap

ids = st.lists(st.text(max_size=4).filter(str.isprintable), unique=True, max_size=30)


class TestIdMap:
    @given(ids, st.lists(st.text(max_size=4).filter(str.isprintable), max_size=10))
    def test_it_is_a_list_and_a_dictionary(self, held: list[str], asked: list[str]) -> None:
        found = IdMap(held)
        assert list(found) == held == [found[row] for row in range(len(found))]
        rows = {product_id: row for row, product_id in enumerate(held)}
        assert found.rows([*held, *asked]).tolist() == [rows.get(one, -1) for one in [*held, *asked]]

    @given(ids, ids)
    def test_it_finds_its_ids_in_another(self, held: list[str], other: list[str]) -> None:
        assert IdMap(held).rows_in(IdMap(other)).tolist() == [other.index(one) if one in other else -1 for one in held]

    def test_it_is_made_of_what_a_file_holds(self) -> None:
        assert list(IdMap(pa.chunked_array([["a"], ["b"]]))) == ["a", "b"]

    def test_an_id_that_repeats_is_told(self) -> None:
        assert IdMap(["a", "b", "a"]).repeats
        assert not IdMap(["a", "b", "c"]).repeats

    def test_a_million_take_some_thirty_bytes_each(self) -> None:
        assert IdMap(f"product-{number:07}" for number in range(10_000)).nbytes < 10_000 * 40
