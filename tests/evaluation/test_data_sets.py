from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from evaluation.data_sets import DATA_SETS, DataSet
from tests.shared_data import SHARED_DATA, needs_shared_data


def pairs(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(
        {"user_id": [row[0] for row in rows], "product_id": [row[1] for row in rows], "confidence": 1.0}
    )


class TestDataSet:
    def test_what_is_known_already_or_unknown_to_the_model_is_not_to_be_found(self) -> None:
        data_set = DataSet(
            "two",
            "two users",
            train=pairs(("a", "p"), ("a", "p"), ("b", "q")),
            test=pairs(("a", "p"), ("a", "q"), ("b", "new"), ("c", "p")),
        )
        known, wanted = data_set.matrices(["a", "b"], ["p", "q"])
        assert known.toarray().tolist() == [[2, 0], [0, 1]]
        assert wanted.toarray().tolist() == [[0, 1], [0, 0]]

    def test_the_job_reads_what_is_written(self, tmp_path: Path) -> None:
        DataSet("one", "one", pairs(("a", "p")), pairs()).write(tmp_path / "train.parquet")
        assert pq.read_table(tmp_path / "train.parquet").to_pylist() == [
            {"user_id": "a", "product_id": "p", "confidence": 1.0}
        ]


@needs_shared_data
class TestDataSets:
    @pytest.mark.parametrize("name", ["online-retail", "x-wines"])
    def test_the_last_month_is_withheld(self, name: str) -> None:
        data_set = DATA_SETS[name](SHARED_DATA)
        assert data_set.train["at"].max() <= data_set.test["at"].min()
        assert (data_set.test["at"].max() - data_set.test["at"].min()).days in (28, 29, 30)
        assert data_set.train["confidence"].gt(0).all()

    def test_the_published_cut_is_kept(self) -> None:
        data_set = DATA_SETS["ml1m"](SHARED_DATA)
        assert (len(data_set.train), len(data_set.test)) == (796_244, 99_455)
