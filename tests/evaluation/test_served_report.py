from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from evaluation.agreement import agreement
from evaluation.recommendation import Estimate
from evaluation.served_report import ServedReport
from tests.evaluation.test_agreement import BEST, CLIP, FACTORS, ITEMS, lists
from tests.evaluation.test_report import COMPARISON, Tags

SAME = agreement([lists(ITEMS)], FACTORS, version="v1", transform=CLIP)
OTHER = agreement([lists([*BEST[:10], *ITEMS[20:], *BEST[10:]])], FACTORS, version="v1", transform=CLIP)


class TestVerdict:
    def test_where_nothing_was_asked_it_says_how_to(self) -> None:
        (sentence,) = ServedReport(COMPARISON).verdict()
        assert "--url" in sentence

    def test_what_agrees_is_said_to(self) -> None:
        said = ServedReport(COMPARISON, SAME).verdict()
        assert said[0].startswith("The served path is what version v1 says")
        assert said[1] == "Served and offline lists do not differ beyond chance."
        assert "--second-stack" in said[2]

    def test_lists_that_differ_come_with_the_reasons(self) -> None:
        said = " ".join(ServedReport(COMPARISON, OTHER).verdict())
        assert "overlap@20 0.5000" in said
        assert "50% placed lower by the ranking weights" in said

    def test_a_fault_comes_first(self) -> None:
        report = ServedReport(COMPARISON, replace(SAME, cf_furthest=0.2))
        assert report.verdict()[:2] == ["The served path is not what version v1 says.", *report.faults()]

    def test_a_difference_counts_when_its_interval_leaves_zero_out(self) -> None:
        said = [
            ServedReport(COMPARISON, SAME, Estimate(mean, mean - 0.01, mean + 0.01)).verdict()[-1]
            for mean in (-0.02, 0.005, 0.02)
        ]
        assert "They disagree: served lists find less" in said[0]
        assert "does not differ beyond chance" in said[1]
        assert "They disagree: served lists find more" in said[2]


class TestWrite:
    def test_the_report_is_text_json_and_a_page_that_needs_nothing_else(self, tmp_path: Path) -> None:
        report = ServedReport(COMPARISON, OTHER, Estimate(0.02, 0.01, 0.03))
        text, document, page = report.write(tmp_path, "recommendations")
        assert "overlap@20" in text.read_text(encoding="utf-8")
        assert json.loads(document.read_text(encoding="utf-8"))["verdict"] == report.verdict()
        tags = Tags()
        tags.feed(page.read_text(encoding="utf-8"))
        assert tags.links == []
        assert "script" not in tags.seen
        assert tags.seen.count("svg") == 5
