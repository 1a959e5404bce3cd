"""The runner on small measurements: ``python -m json.tool`` copies the answer that one would leave."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from cluster.state_directory import project_root
from evaluation.figures import Golden, collaborative_rows, search_rows, training_rows, vector_rows
from evaluation.recommendation import Estimate
from evaluation.run_all import GOLDEN, STEPS, Step, chosen, is_wrong, run
from evaluation.search_report import SearchComparison
from tests.evaluation.test_report import COMPARISON

FILMS = replace(
    COMPARISON,
    evaluations={
        "ALS (the job)": COMPARISON.evaluations["ours"],
        "popularity": COMPARISON.evaluations["popularity"],
    },
    of_ours="ALS (the job)",
    ratios={"fit: seconds / implicit alone": 1.2},
    seconds={"whole job": 12.0},
)
SEARCH = SearchComparison(
    data="shop",
    modes={
        "by words": {"ndcg_at_10": Estimate(0.7, 0.6, 0.8)},
        "by both": {"ndcg_at_10": Estimate(0.81, 0.7, 0.9)},
    },
    reported={},
    targets={"ndcg_at_10": 0.8},
    of_ours="by both",
)
COPY = ("{data}/films.json", "{out}/films.json")
TINY = Step("films", "json.tool", COPY, "films.json", collaborative_rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "films.json").write_text(json.dumps([asdict(FILMS)]))
    return tmp_path


class TestRows:
    def test_of_recommendations(self) -> None:
        rows = {row.what: row for row in collaborative_rows("films", [asdict(FILMS)])}
        assert rows["Recall@20"].status == "met"
        assert rows["Recall@20, popularity"].figure == 0.1
        assert rows["NDCG@20"].status == ""
        assert rows["fit: seconds / implicit alone"].status == "missed"

    def test_of_search(self) -> None:
        rows = {row.what: row for row in search_rows("shop", [asdict(SEARCH)])}
        assert rows["NDCG@10"].status == "met"
        assert rows["NDCG@10, by words"].target is None

    def test_of_vectors(self) -> None:
        kind = {"recall": 0.96, "seconds": 34.0, "build_mb": 557.0, "load_mb": 389.0, "p50": 2.0, "p95": 3.0}
        document = {"vectors": 1000, "kinds": {"Flat": kind | {"p50": 50.0}, "IVF2048,SQ8": kind}}
        rows = {row.what: row for row in vector_rows("vectors", document)}
        assert [row.status for row in rows.values() if row.target] == ["met", "met"]
        assert rows["Flat p50 / IVF2048,SQ8 p50"].figure == 25

    def test_of_serving_beside_training(self) -> None:
        document = {
            "ms": {"nothing trains": {"p50": 10.0}, "beside training": {"p50": 12.0}},
            "ratios": {"p50": 1.2},
            "missing": 1,
            "training_cpu": 0.7,
        }
        rows = {row.what: row for row in training_rows("beside-training", document)}
        assert rows["p50, beside / without"].figure == 1.2
        assert rows["answers missing"].status == "missed"


class TestGolden:
    def test_the_frozen_figures_are_found_by_the_names_of_the_table(self) -> None:
        golden = Golden.of(yaml.safe_load(GOLDEN.read_text(encoding="utf-8")))
        assert golden.figures["ml1m"] == {"NDCG@20": 0.2622, "Recall@20": 0.2780}
        assert golden.tolerances["ml1m"] == 0.001
        assert set(golden.figures["vectors"]) <= {
            row.what
            for row in vector_rows(
                "vectors",
                {
                    "vectors": 1,
                    "kinds": {
                        "IVF2048,SQ8": dict.fromkeys(("recall", "seconds", "build_mb", "load_mb", "p50", "p95"), 1.0)
                    },
                },
            )
        }


class TestRun:
    def test_each_part_is_a_process_and_all_stand_in_one_report(self, data: Path, tmp_path: Path) -> None:
        out = tmp_path / "reports"
        golden = Golden({"films": {"Recall@20": 0.3}}, {"films": 0.001})
        (part,) = run([TINY], data, out, golden, quick=False)
        assert part.rows[0].frozen == 0.3
        assert not is_wrong([part])
        assert (out / "index.html").exists()
        assert json.loads((out / "all.json").read_text())["parts"][0]["reports"] == ["films/films.json"]

    def test_a_figure_that_moved_is_wrong(self, data: Path, tmp_path: Path) -> None:
        golden = Golden({"films": {"Recall@20": 0.31}}, {"films": 0.001})
        assert is_wrong(run([TINY], data, tmp_path / "reports", golden, quick=False))

    def test_a_part_that_leaves_nothing_failed_and_the_others_run(self, data: Path, tmp_path: Path) -> None:
        broken = replace(TINY, name="broken", arguments=("{data}/nothing.json", "{out}/films.json"))
        first, second = run([broken, TINY], data, tmp_path / "reports", Golden(), quick=False)
        assert first.failure.startswith("status ")
        assert "nothing.json" in first.failure
        assert second.rows
        assert is_wrong([first, second])

    def test_what_an_earlier_run_left_does_not_count(self, data: Path, tmp_path: Path) -> None:
        run([TINY], data, tmp_path / "reports", Golden(), quick=False)
        (data / "films.json").unlink()
        (part,) = run([TINY], data, tmp_path / "reports", Golden(), quick=False)
        assert part.failure


class TestChosen:
    def test_without_names_all_run_or_those_of_a_quick_run(self) -> None:
        assert chosen(None, quick=False) == list(STEPS)
        assert {step.name for step in chosen(None, quick=True)} == {"ml1m", "online-retail", "beside-training"}

    def test_names_run_in_the_order_of_the_steps(self) -> None:
        assert [step.name for step in chosen(["vectors", "ml1m"], quick=True)] == ["ml1m", "vectors"]

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(ValueError, match="no part is called films; there are ml1m"):
            chosen(["films"], quick=False)


class TestCommand:
    def test_without_the_data_sets_it_says_where_to_name_them(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "evaluation.run_all", f"--data={tmp_path}/none", f"--out={tmp_path}"],
            capture_output=True,
            text=True,
            check=False,
            cwd=project_root(),
        )
        assert done.returncode == 1
        assert "say where with --data" in done.stderr
