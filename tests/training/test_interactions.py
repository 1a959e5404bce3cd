from __future__ import annotations

import pyarrow as pa

from training.interactions import INTERACTION_COLUMNS, Interactions, event_counts_of


class TestInteractions:
    def test_the_order_of_rows_does_not_matter(self) -> None:
        rows = [("u2", "p1", 3.0, 5.0), ("u1", "p2", 1.0, 6.0), ("u1", "p1", 2.0, 7.0)]
        one, other = (
            Interactions.from_table(
                pa.table(
                    [pa.array(column, kind) for column, kind in zip(zip(*order, strict=True), KINDS, strict=True)],
                    names=list(INTERACTION_COLUMNS),
                )
            )
            for order in (rows, rows[::-1])
        )
        assert one.user_ids == other.user_ids == ["u1", "u2"]
        assert one.matrix().toarray().tolist() == other.matrix().toarray().tolist() == [[2.0, 1.0], [3.0, 0.0]]

    def test_a_choice_gives_a_matrix_of_the_same_shape(self) -> None:
        table = pa.table(
            {"user_id": ["u1", "u2"], "product_id": ["p1", "p2"], "confidence": [1.0, 2.0], "last_at": [0.0, 1.0]}
        )
        interactions = Interactions.from_table(table)
        chosen = interactions.matrix(interactions.last_at > 0)
        assert chosen.toarray().tolist() == [[0.0, 0.0], [0.0, 2.0]]

    def test_another_hold_out_that_came_with_them_is_another_digest(self) -> None:
        rows = {"user_id": ["u1", "u2"], "product_id": ["p1", "p2"], "confidence": [1.0, 2.0], "last_at": [0.0, 1.0]}
        digests = {
            Interactions.from_table(pa.table(rows | ({"holdout": given} if given else {}))).digest()
            for given in (None, [True, False], [False, True], [True, False])
        }
        assert len(digests) == 3


class TestEventCountsOf:
    def test_each_user_has_the_count_of_the_table_or_none(self) -> None:
        table = pa.table({"user_id": ["u2", "u3", "u1"], "event_count": [5, 9, 2]})
        assert event_counts_of(["u1", "u2", "u4"], table).tolist() == [2, 5, 0]


KINDS = list(INTERACTION_COLUMNS.values())
