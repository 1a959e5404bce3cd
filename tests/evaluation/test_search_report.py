from __future__ import annotations

import json
from pathlib import Path

from evaluation.search_data import SearchSet
from evaluation.search_report import as_text, compared, write

LAMPS = SearchSet(
    name="lamps",
    title="Lamps",
    products=[{"id": "a", "title": "lamp"}, {"id": "b", "title": "shade"}],
    queries={"1": "lamp", "2": "tent"},
    judgments={"1": {"a": 2, "b": 0}, "2": {"a": 0}},
    measures=("ndcg_at_10", "judged_ndcg_at_10"),
    targets={"ndcg_at_10": 0.9},
    reported={"BM25": {"ndcg_at_10": 0.5}},
)
GOOD = compared(LAMPS, {"by words": {"1": ["b"]}, "by both": {"1": ["a", "b"]}}, of_ours="by both")


class TestCompared:
    def test_it_says_how_many_queries_count(self) -> None:
        assert GOOD.data == "Lamps: 2 products, 2 queries, 1 with an answer"

    def test_a_target_is_for_the_mode_of_ours(self) -> None:
        assert GOOD.missed() == []
        assert compared(LAMPS, {"by both": {"1": ["b"]}}, of_ours="by both").missed() == ["ndcg_at_10"]


class TestAsText:
    def test_each_mode_has_a_row_and_what_is_reported_and_the_target_too(self) -> None:
        rows = {line.split("  ")[1].strip(): line for line in as_text([GOOD]).splitlines()[2:]}
        assert list(rows) == ["by words", "by both", "BM25 (reported)", "target"]
        assert rows["by both"].count("1.0000 ±0.0000") == 2
        assert "0.500" in rows["BM25 (reported)"]


class TestWrite:
    def test_the_report_is_text_and_json(self, tmp_path: Path) -> None:
        paths = write([GOOD], tmp_path / "reports", "search")
        assert [path.name for path in paths] == ["search.txt", "search.json"]
        (read,) = json.loads(paths[1].read_text(encoding="utf-8"))
        assert read["modes"]["by both"]["ndcg_at_10"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
        assert read["lists"]["by both"] == {"1": ["a", "b"]}
