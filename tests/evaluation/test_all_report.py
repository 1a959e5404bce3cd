from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation.all_report import Part, Row, as_text, frozen, summary, write
from tests.evaluation.test_report import Tags

NDCG = Row("films", "NDCG@20", 0.26, 0.262)
PARTS = [
    Part("films", 12.0, [NDCG, Row("films", "NDCG@20, popularity", 0.11)], []),
    Part("vectors", 3.0, [Row("vectors", "seconds to build", 34.0, 1800.0, most=True, frozen=30.0, tolerance=1.0)], []),
    Part("broken <b>", 0.1, [], [], failure="status 1"),
]


class TestRow:
    @pytest.mark.parametrize(
        ("row", "expected"),
        [
            (Row("a", "b", 0.5, 0.5), "met"),
            (Row("a", "b", 0.4, 0.5), "missed"),
            (Row("a", "b", 0.4, 0.5, most=True), "met"),
            (Row("a", "b", 0.6, 0.5, most=True), "missed"),
            (Row("a", "b", None, 0.5), "missed"),
            (Row("a", "b", 0.4), ""),
        ],
    )
    def test_a_target_is_met_or_missed(self, row: Row, expected: str) -> None:
        assert row.status == expected

    @pytest.mark.parametrize(("figure", "expected"), [(0.501, False), (0.502, True), (0.498, True), (None, False)])
    def test_a_figure_moves_when_it_leaves_its_tolerance(self, figure: float | None, expected: bool) -> None:
        assert Row("a", "b", figure, frozen=0.5, tolerance=0.0015).moved is expected


class TestFrozen:
    def test_rows_get_what_they_were_by_part_and_name(self) -> None:
        rows = frozen([NDCG, Row("films", "MRR", 0.1)], {"films": {"NDCG@20": 0.3}}, {"films": 0.01})
        assert [(row.frozen, row.moved) for row in rows] == [(0.3, True), (None, False)]


class TestAsText:
    def test_each_figure_has_a_line_with_target_and_verdict(self) -> None:
        lines = as_text(PARTS).splitlines()
        assert lines[1].split() == ["films", "NDCG@20", "0.2600", ">=", "0.2620", "missed"]
        assert lines[3].split() == [
            *["vectors", "seconds", "to", "build", "34.00", "<=", "1,800", "met", "30.00", "±1", "MOVED"]
        ]
        assert "broken <b> failed: status 1" in lines[-2]
        assert lines[-1].strip() == summary(PARTS)

    def test_the_summary_counts(self) -> None:
        assert summary(PARTS) == "1 targets met, 1 missed; 1 of 1 frozen figures moved; 1 parts failed"


class TestWrite:
    def test_there_are_a_table_json_and_a_page_that_links_the_reports(self, tmp_path: Path) -> None:
        report = tmp_path / "films" / "films.html"
        report.parent.mkdir()
        report.write_text("")
        paths = write([Part("films", 1.0, [NDCG], [report]), PARTS[2]], tmp_path, title="All")
        assert [path.name for path in paths] == ["all.txt", "all.json", "index.html"]
        page = paths[2].read_text(encoding="utf-8")
        tags = Tags()
        tags.feed(page)
        assert tags.links == ["films/films.html"]
        assert "broken &lt;b&gt;" in page
        document = json.loads(paths[1].read_text(encoding="utf-8"))
        assert document["parts"][0]["rows"][0]["status"] == "missed"
