from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.errors import NothingToTrainOn, WrongInput
from training.interaction_files import read_interaction_files

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def written(path: Path, **columns: list[Any] | pa.Array) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


class TestReadInteractionFiles:
    def test_pairs_that_come_twice_add_up_and_the_latest_time_counts(self, tmp_path: Path) -> None:
        path = written(
            tmp_path / "i.parquet",
            user_id=["u2", "u1", "u2"],
            product_id=["p1", "p9", "p1"],
            confidence=[1.5, 2.0, 0.5],
            at=[NOON, NOON.replace(hour=9), NOON.replace(hour=10)],
        )
        interactions, window = read_interaction_files(path)
        assert (interactions.user_ids, interactions.item_ids) == (["u1", "u2"], ["p1", "p9"])
        assert interactions.matrix().toarray().tolist() == [[0, 2], [2, 0]]
        assert interactions.last_at.tolist() == [NOON.replace(hour=9).timestamp(), NOON.timestamp()]
        assert window is not None
        assert (window.start, window.end) == (NOON.replace(hour=9), NOON)

    def test_numbers_are_ids_and_what_is_missing_has_a_default(self, tmp_path: Path) -> None:
        path = written(tmp_path / "i.parquet", user_id=[7, 10], product_id=[1, 2])
        interactions, window = read_interaction_files(path)
        assert interactions.user_ids == ["10", "7"]
        assert interactions.confidence.tolist() == [1.0, 1.0]
        assert (window, interactions.withheld) == (None, None)

    def test_all_files_of_a_directory_are_read(self, tmp_path: Path) -> None:
        for number in range(3):
            written(tmp_path / f"part-{number}.parquet", user_id=[f"u{number}"], product_id=["p"])
        assert read_interaction_files(str(tmp_path))[0].user_ids == ["u0", "u1", "u2"]

    def test_a_hold_out_comes_with_its_rows(self, tmp_path: Path) -> None:
        path = written(
            tmp_path / "i.parquet", user_id=["b", "a", "a"], product_id=["p", "q", "p"], holdout=[True, False, True]
        )
        withheld = read_interaction_files(path)[0].withheld
        assert withheld is not None
        assert withheld.tolist() == [True, False, True]

    @pytest.mark.parametrize(
        ("columns", "says"),
        [
            ({"user_id": ["u"]}, "no column product_id"),
            ({"user_id": ["u", None], "product_id": ["p", "q"]}, "without a value"),
            ({"user_id": ["u"], "product_id": ["p"], "confidence": [0.0]}, "must be above 0"),
            ({"user_id": ["u", "v"], "product_id": ["p", "q"], "confidence": [1.0, float("nan")]}, "confidence of nan"),
            ({"user_id": ["u"], "product_id": ["p"], "confidence": [float("inf")]}, "confidence of inf"),
            ({"user_id": ["u"], "product_id": ["p"], "confidence": ["much"]}, "cannot be read as interactions"),
            ({"user_id": [["u"]], "product_id": ["p"]}, "cannot be read as interactions"),
            ({"user_id": ["u"], "product_id": ["p"], "at": ["yesterday"]}, "cannot be read as interactions"),
            ({"user_id": ["u"], "product_id": ["p"], "at": [1.7e12]}, "seconds since 1970"),
            ({"user_id": ["u"], "product_id": ["p"], "at": [float("nan")]}, "a time of nan"),
            ({"user_id": ["u"], "product_id": ["p"], "holdout": ["much"]}, "cannot be read as interactions"),
        ],
    )
    def test_what_it_cannot_use_it_names(self, tmp_path: Path, columns: dict[str, list[Any]], says: str) -> None:
        with pytest.raises(WrongInput, match=says):
            read_interaction_files(written(tmp_path / "i.parquet", **columns))

    def test_a_file_that_is_no_parquet_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "i.parquet"
        path.write_text("user_id,product_id\n")
        with pytest.raises(WrongInput, match=r"i\.parquet"):
            read_interaction_files(str(path))

    def test_no_rows_are_nothing_to_train_on(self, tmp_path: Path) -> None:
        path = written(tmp_path / "i.parquet", user_id=pa.array([], pa.string()), product_id=pa.array([], pa.string()))
        with pytest.raises(NothingToTrainOn):
            read_interaction_files(path)
