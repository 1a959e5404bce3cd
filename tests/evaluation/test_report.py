from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

from evaluation.metrics import MEASURES
from evaluation.recommendation import Estimate, Evaluation
from evaluation.report import Comparison, Published, as_text, write
from evaluation.report_page import as_page


def evaluation(mean: float, **segments: Evaluation) -> Evaluation:
    return Evaluation(100, {name: Estimate(mean, mean - 0.01, mean + 0.01) for name in MEASURES}, 0.5, 7.25, segments)


COMPARISON = Comparison(
    data="films <1995>",
    evaluations={"ours": evaluation(0.3, head=evaluation(0.4)), "popularity": evaluation(0.1)},
    published=[Published("LightGCN", {"recall_at_20": 0.25}, "a paper")],
    targets={"recall_at_20": 0.28},
    of_ours="ours",
    notes={"whole job": "12 s"},
)


class Tags(HTMLParser):
    """Counts tags and notes what is loaded from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


class TestAsText:
    def test_each_model_has_a_row_with_the_half_width_of_its_interval(self) -> None:
        lines = as_text([COMPARISON]).splitlines()
        assert next(line for line in lines if line.strip().startswith("ours")).count("0.3000 ±0.0100") == len(MEASURES)
        assert any("LightGCN (a paper)" in line and "0.2500" in line for line in lines)
        assert any(line.strip().startswith("target") and "0.2800" in line for line in lines)
        assert "  whole job: 12 s" in lines

    def test_parts_have_a_table_of_their_own(self) -> None:
        text = as_text([COMPARISON])
        assert "head (100)" in text.split("Recall@20 by part")[1]


class TestAsPage:
    def test_it_needs_nothing_else(self) -> None:
        tags = Tags()
        tags.feed(as_page([COMPARISON]))
        assert tags.links == []
        assert "script" not in tags.seen
        assert tags.seen.count("svg") == 2

    def test_names_are_text(self) -> None:
        assert "films &lt;1995&gt;" in as_page([COMPARISON])


class TestWrite:
    def test_the_report_is_text_json_and_a_page(self, tmp_path: Path) -> None:
        paths = write([COMPARISON], tmp_path / "reports", "films")
        assert [path.name for path in paths] == ["films.txt", "films.json", "films.html"]
        (read,) = json.loads(paths[1].read_text(encoding="utf-8"))
        assert read["evaluations"]["ours"]["metrics"]["recall_at_20"] == {"mean": 0.3, "low": 0.29, "high": 0.31}
