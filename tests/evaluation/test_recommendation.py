from __future__ import annotations

import numpy as np
from scipy import sparse

from evaluation.metrics import Lists, SparseMatrix
from evaluation.recommendation import evaluate, mean_metrics
from evaluation.recommenders import Rows
from evaluation.segments import Segment, segments

KNOWN = sparse.csr_matrix(np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]]))
WITHHELD = sparse.csr_matrix(np.array([[0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]))


class Oracle:
    """Lists what is withheld, the last item first."""

    def recommend(self, users: Rows, known: SparseMatrix, limit: int) -> Lists:
        assert known.shape[0] == len(users)
        lists = np.full((len(users), limit), -1, dtype=np.int32)
        for row, user in enumerate(users):
            items = WITHHELD[user].indices[::-1]
            lists[row, : len(items)] = items
        return lists


class TestEvaluate:
    def test_who_knows_the_answer_is_perfect(self) -> None:
        found = evaluate(Oracle(), KNOWN, WITHHELD)
        assert {estimate.mean for estimate in found.metrics.values()} == {1.0}
        assert (found.users, found.coverage) == (2, 0.75)

    def test_who_wants_nothing_is_not_asked_for(self) -> None:
        assert evaluate(Oracle(), KNOWN, WITHHELD, users=np.array([1, 2])).users == 1

    def test_a_part_counts_only_its_items_and_users(self) -> None:
        """User 1 is listed items 3 and 2; of these only 2 is of the part, at the second rank."""
        part = Segment("part", np.array([False, True, True]), np.array([True, True, True, False]))
        found = evaluate(Oracle(), KNOWN, WITHHELD, parts=[part]).segments["part"]
        assert (found.users, found.metrics["mrr_at_20"].mean, found.metrics["recall_at_20"].mean) == (1, 0.5, 1.0)

    def test_a_part_that_nobody_wants_anything_of_is_left_out(self) -> None:
        part = Segment("part", np.ones(3, np.bool_), np.array([True, False, False, False]))
        assert evaluate(Oracle(), KNOWN, WITHHELD, parts=[part]).segments == {}


class TestMeanMetrics:
    def test_they_are_the_means_of_evaluate(self) -> None:
        whole = evaluate(Oracle(), KNOWN, WITHHELD)
        means = mean_metrics(Oracle(), KNOWN, WITHHELD, np.array([0, 1]))
        assert means == {name: estimate.mean for name, estimate in whole.metrics.items()}


class TestSegments:
    def test_the_head_has_half_of_the_interactions_and_the_tail_the_rest(self) -> None:
        counts = [10, 6, 2, 1, 1]
        rows = np.concatenate([np.arange(count) for count in counts])
        items = np.repeat(np.arange(5), counts)
        parts = {part.name: part for part in segments(sparse.csr_matrix((np.ones(20), (rows, items)), shape=(10, 5)))}
        assert parts["head"].items.tolist() == [True, False, False, False, False]
        assert parts["tail"].items.tolist() == [False, True, True, True, True]
        assert parts["new products"].items.tolist() == [False, False, True, True, True]
        assert parts["new users"].users.tolist() == [True] * 10
