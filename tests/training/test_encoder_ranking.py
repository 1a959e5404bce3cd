from __future__ import annotations

import numpy as np
import pytest

from training.encoder_ranking import JudgedKind, JudgedQueries, mean_of, ndcg_of_rows

AXES = np.eye(12, dtype=np.float32)


class TestNdcgOfRows:
    def test_the_one_right_document_counts_by_its_rank(self) -> None:
        query = np.array([[3, 2, 1, *[0] * 9]], dtype=np.float32) / np.float32(14**0.5)
        found = [ndcg_of_rows(query, AXES, [[row]])[0] for row in range(3)]
        assert found == pytest.approx([1, 1 / np.log2(3), 1 / 2])

    def test_beyond_ten_it_counts_nothing(self) -> None:
        """Equal cosines go by row, so that the last two of twelve are out."""
        assert ndcg_of_rows(np.zeros((1, 12), np.float32), AXES, [[10]])[0] == 0

    def test_all_right_documents_first_is_the_best_there_is(self) -> None:
        query = np.array([[1, 1, *[0] * 10]], dtype=np.float32) / np.float32(2**0.5)
        assert ndcg_of_rows(query, AXES, [[0, 1]])[0] == pytest.approx(1)
        assert ndcg_of_rows(query, AXES, [list(range(12))])[0] == pytest.approx(1)

    def test_more_queries_than_are_looked_at_at_once_keep_their_order(self) -> None:
        queries = AXES[np.arange(600) % 12]
        right = [[row % 12 if row % 2 else (row + 1) % 12] for row in range(600)]
        found = ndcg_of_rows(queries, AXES, right)
        assert (found[1::2] == 1).all()
        assert (found[::2] < 1).all()


class TestJudgedQueries:
    judged = JudgedQueries(
        {
            "click": JudgedKind(["a"], ["x", "y"], [[0]]),
            "title": JudgedKind(["b", "c"], ["z"], [[0], [0]]),
        }
    )

    def test_each_kind_is_ranked_among_its_own_documents(self) -> None:
        vectors = AXES[[1, 0, 1, 5, 6, 7]]
        found = self.judged.ndcg(vectors)
        assert {kind: values.tolist() for kind, values in found.items()} == {
            "click": pytest.approx([1 / np.log2(3)]),
            "title": [1, 1],
        }
        assert mean_of(found) == pytest.approx((1 / np.log2(3) + 2) / 3)

    def test_it_counts_its_queries_and_documents(self) -> None:
        assert (len(self.judged), self.judged.document_count, len(self.judged.texts())) == (3, 3, 6)

    def test_another_right_answer_is_another_question(self) -> None:
        other = JudgedQueries({**self.judged.kinds, "click": JudgedKind(["a"], ["x", "y"], [[1]])})
        assert self.judged.digest() == JudgedQueries(dict(self.judged.kinds)).digest() != other.digest()
