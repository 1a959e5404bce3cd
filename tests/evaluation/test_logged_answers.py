from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.ranked import RankRequest
from evaluation.logged_answers import LoggedAnswers, WrongLog
from ranking.config import FEATURES, RankingConfig
from ranking.rankers import FactorVersion, WeightedRanker
from tests.evaluation.made_up_answers import as_table, clicked_answers, config_of
from tests.ranking.candidates import candidates

feature = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))
rows = st.lists(st.tuples(st.sampled_from(["books", "films", "rest", None]), feature, feature, feature), min_size=1)


class _Cf:
    """Factors whose dot product with 1 is the value."""

    def __init__(self, values: list[float | None]) -> None:
        self._values = {f"p{row}": value for row, value in enumerate(values) if value is not None}

    def rows_of(self, product_ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
        found = [row for row, product_id in enumerate(product_ids) if product_id in self._values]
        factors = [[self._values[product_ids[row]]] for row in found]
        return np.array(found, dtype=np.int64), np.array(factors, dtype=np.float32).reshape(-1, 1)


def one_answer(shown: list[tuple[str | None, float | None, float | None, float | None]]) -> LoggedAnswers:
    columns = list(zip(*shown, strict=True))
    return LoggedAnswers(
        starts=np.array([0, len(shown)]),
        shown_at=np.zeros(1),
        kinds=["search"],
        user_ids=["u"],
        product_ids=[f"p{row}" for row in range(len(shown))],
        ranks=np.arange(1, len(shown) + 1),
        categories=list(columns[0]),
        features={
            "search": np.array(columns[1], dtype=np.float64),
            "cf": np.array(columns[2], dtype=np.float32).astype(np.float64),
            "popularity": np.array(columns[3], dtype=np.float64),
            "freshness": np.ones(len(shown)),
        },
        clicked=np.zeros(len(shown), dtype=np.bool_),
    )


class TestRankedBy:
    @given(rows)
    def test_it_is_the_order_of_the_ranker_that_serves(
        self, shown: list[tuple[str | None, float | None, float | None, float | None]]
    ) -> None:
        config = config_of(0.4, 0.3, 0.2, 0.1, books=(0.0, 1.0, 0.5, 0.0), films=(0.2, 0.2, 0.2, 0.7))
        answers = one_answer(shown)
        served = candidates(
            list(answers.product_ids),
            search=answers.features["search"].tolist(),
            popularity=answers.features["popularity"].tolist(),
            age_days=[0.0] * len(shown),
            categories=list(answers.categories),
        )
        ranker = WeightedRanker(config, (FactorVersion("v", _Cf([each[2] for each in shown])),))
        request = RankRequest(
            served, user_vector=np.ones(1, dtype=np.float32), user_vector_version="v", limit=len(shown)
        )
        order = {hit.product_id: hit.rank for hit in ranker.rank(request).hits}
        assert answers.ranked_by(config).tolist() == [order[each] for each in answers.product_ids]

    def test_each_answer_is_ordered_by_itself(self) -> None:
        answers = clicked_answers(RankingConfig(), count=7, size=3)
        assert answers.ranked_by(RankingConfig()).tolist() == [1, 2, 3] * 7


class TestOnly:
    def test_whole_answers_are_kept(self) -> None:
        answers = clicked_answers(RankingConfig(), count=5, size=3)
        some = answers.only(np.array([False, True, False, False, True]))
        assert some.product_ids == [*answers.product_ids[3:6], *answers.product_ids[12:15]]
        assert some.starts.tolist() == [0, 3, 6]
        assert some.user_ids == [answers.user_ids[1], answers.user_ids[4]]

    def test_none_are_none(self) -> None:
        answers = clicked_answers(RankingConfig(), count=2, size=3)
        assert len(answers.only(np.zeros(2, dtype=np.bool_))) == 0


class TestOfTable:
    def test_what_was_written_is_read(self, tmp_path: Path) -> None:
        answers = clicked_answers(RankingConfig(), count=20, size=4, categories=("a", None))
        pq.write_table(as_table(answers), tmp_path / "log.parquet")
        found = LoggedAnswers.of_table(pq.read_table(tmp_path / "log.parquet"))
        assert found.product_ids == answers.product_ids
        assert (found.starts.tolist(), found.user_ids) == (answers.starts.tolist(), answers.user_ids)
        assert (found.clicked == answers.clicked).all()
        for name in FEATURES:
            np.testing.assert_array_equal(found.features[name], answers.features[name])

    def test_rows_may_come_in_any_order(self) -> None:
        table = as_table(clicked_answers(RankingConfig(), count=9, size=3))
        shuffled = table.take(pa.array(np.random.default_rng(0).permutation(len(table))))
        assert LoggedAnswers.of_table(shuffled).product_ids == LoggedAnswers.of_table(table).product_ids

    def test_the_same_request_shown_twice_is_two_answers(self) -> None:
        table = as_table(clicked_answers(RankingConfig(), count=2, size=3))
        table = table.set_column(0, "request_id", pa.array(["same"] * 6))
        assert LoggedAnswers.of_table(table).starts.tolist() == [0, 3, 6]

    @pytest.mark.parametrize(
        ("column", "value", "complaint"),
        [
            ("cf", 1.5, r"column cf has 1\.5; a feature lies in \[0, 1\]"),
            ("rank", 0, "ranks count from 1"),
            ("rank", None, "column rank has 3 empty values"),
            ("rank", "first", "a column is not of its type"),
        ],
    )
    def test_a_wrong_value_is_named(self, column: str, value: object, complaint: str) -> None:
        table = as_table(clicked_answers(RankingConfig(), count=1, size=3))
        wrong = table.set_column(table.column_names.index(column), column, pa.array([value] * 3))
        with pytest.raises(WrongLog, match=complaint):
            LoggedAnswers.of_table(wrong)

    def test_a_missing_column_is_named(self) -> None:
        table = as_table(clicked_answers(RankingConfig(), count=1, size=3)).drop_columns(["category", "rank"])
        with pytest.raises(WrongLog, match="column rank, category is missing"):
            LoggedAnswers.of_table(table)
