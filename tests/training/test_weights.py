from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from evaluation.click_metrics import Estimate
from evaluation.logged_answers import LoggedAnswers
from evaluation.replay import Compared, Figure
from ranking.config import FEATURES, RankingConfig
from tests.artifacts.s3_server import CREDENTIALS, s3_server
from tests.evaluation.made_up_answers import as_table, clicked_answers, config_of
from tests.small_disk import fill, small_disk
from tests.training.answer_rows import log_answers
from training.errors import NothingToTrainOn
from training.weights import fit_weights
from training.weights_report import lines, verdict

ROOT = Path(__file__).parents[2]
WANTED = config_of(0.4, 0.3, 0.2, 0.1, books=(0.1, 0.7, 0.1, 0.1), films=(0.1, 0.1, 0.1, 0.7))


def job(*arguments: str, database_url: str = "") -> subprocess.CompletedProcess[str]:
    """The job as an operator runs it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHORTLIST_")}
    if database_url:
        environment["SHORTLIST_DATABASE_URL"] = database_url
    return subprocess.run(
        [sys.executable, "-m", "training.weights", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=environment,
        timeout=120,
    )


def last_line(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


class TestFitWeights:
    def test_better_weights_are_kept_and_explained(self) -> None:
        answers = clicked_answers(WANTED, count=6000, categories=("books", "films", "rest"))
        report = fit_weights(answers, RankingConfig())
        assert report.kept
        assert set(report.fitted.category_weights) == {"books", "films", "rest"}
        for name in ("books", "films"):
            for feature in FEATURES:
                fitted = report.fitted.category_weights[name].of(feature)
                assert fitted == pytest.approx(WANTED.category_weights[name].of(feature), abs=0.08)
        told = "\n".join(lines(report))
        assert "books: cf up: clicked products had" in told
        assert "films: freshness up: clicked products had" in told
        assert told.splitlines()[-1].startswith("kept: NDCG@10 of the newer clicks is better by +")

    def test_weights_that_are_right_already_are_not_replaced(self) -> None:
        report = fit_weights(clicked_answers(RankingConfig(), count=3000), RankingConfig())
        assert not report.kept
        assert "no better than chance allows" in report.why

    def test_clicks_that_follow_the_place_alone_change_nothing(self) -> None:
        """Nobody looks at scores; naive weights would take the shown order for what users want."""
        answers = clicked_answers(RankingConfig(), count=3000, steepness=0)
        report = fit_weights(answers, RankingConfig())
        assert not report.kept

    def test_categories_with_few_clicks_have_the_weights_of_all(self) -> None:
        answers = clicked_answers(WANTED, count=2000, categories=(*["books"] * 9, "films"))
        assert set(fit_weights(answers, RankingConfig()).fitted.category_weights) == {"books"}

    def test_it_judges_by_the_newest_answers(self) -> None:
        """Users who want something else since than they did before: what was learned is not better now."""
        before = clicked_answers(config_of(0.1, 0.7, 0.1, 0.1), count=3000)
        after = clicked_answers(RankingConfig(), count=1000, seed=1)
        later = replace(after, shown_at=after.shown_at + 1e7)
        both = LoggedAnswers.of_table(pa.concat_tables([as_table(before), as_table(later)]))
        report = fit_weights(both, RankingConfig(), holdout=0.25)
        assert not report.kept
        assert report.overall.weighted["ndcg_at_10"].difference.high < 0
        assert report.why.startswith("not kept: NDCG@10 of the newer clicks is worse")

    def test_the_same_log_gives_the_same_report(self) -> None:
        answers = clicked_answers(WANTED, count=1000, categories=("books", "films"))
        once, again = (fit_weights(answers, RankingConfig()) for _ in range(2))
        assert lines(once) == lines(again)

    def test_too_few_clicks_are_counted(self) -> None:
        with pytest.raises(NothingToTrainOn, match="160 clicks in the older answers and 40 in the newer ones"):
            fit_weights(clicked_answers(WANTED, count=200), RankingConfig())


class TestVerdict:
    @pytest.mark.parametrize(
        ("ndcg", "mrr", "kept"),
        [
            (Estimate(0.02, 0.01, 0.03), 0.01, True),
            (Estimate(0.02, -0.001, 0.04), 0.01, False),
            (Estimate(-0.02, -0.03, -0.01), 0.01, False),
            (Estimate(0.02, 0.01, 0.03), -0.01, False),
        ],
    )
    def test_better_beyond_chance_is_kept(self, ndcg: Estimate, mrr: float, kept: bool) -> None:
        some = Estimate(0.5, 0.4, 0.6)
        figures = {
            "ndcg_at_10": Figure(some, some, ndcg),
            "mrr": Figure(some, some, Estimate(mrr, mrr - 0.1, mrr + 0.1)),
        }
        assert verdict(Compared("all", 9, 9, figures, figures, 1.0, 1.0, 1.0))[0] is kept


class TestJob:
    def test_what_it_writes_can_be_deployed(self, database_url: str, tmp_path: Path) -> None:
        log_answers(database_url, clicked_answers(WANTED, count=3000, categories=("books", "films")))
        done = job(f"--root={tmp_path}", database_url=database_url)
        result = last_line(done)
        assert (result["kind"], result["kept"]) == ("weights", True)
        where = Path(result["path"])
        assert where == tmp_path / "weights" / result["version"]
        assert sorted(path.name for path in where.iterdir()) == [
            "ranking.yaml",
            "report.json",
            "report.txt",
            "serve.yaml",
        ]
        deployed = yaml.safe_load((where / "serve.yaml").read_text())
        ServeDeploySchema.model_validate(deployed)
        ranking = next(each for each in deployed["applications"][0]["deployments"] if each["name"] == "ranking")
        config = RankingConfig.model_validate(ranking.pop("user_config"))
        assert config.version == result["weights"]
        assert config == RankingConfig.model_validate(yaml.safe_load((where / "ranking.yaml").read_text()))
        before = yaml.safe_load((ROOT / "configs" / "serve_config.yaml").read_text())
        next(each for each in before["applications"][0]["deployments"] if each["name"] == "ranking").pop("user_config")
        assert deployed == before
        report = json.loads((where / "report.json").read_text())
        assert report["fitted"]["version"] == result["weights"]
        assert (where / "report.txt").read_text().splitlines()[-1] == result["why"]
        assert f"serve deploy {where}/serve.yaml" in done.stdout

    def test_nothing_to_deploy_is_written_where_nothing_is_better(self, tmp_path: Path) -> None:
        pq.write_table(as_table(clicked_answers(RankingConfig(), count=1000)), tmp_path / "log.parquet")
        done = job(f"--answers={tmp_path}/log.parquet", f"--out={tmp_path}/result")
        result = last_line(done)
        assert not result["kept"]
        assert result["why"] in done.stdout
        assert sorted(path.name for path in (tmp_path / "result").iterdir()) == ["report.json", "report.txt"]

    def test_the_same_again_is_not_fitted_again(self, tmp_path: Path) -> None:
        pq.write_table(as_table(clicked_answers(WANTED, count=1000)), tmp_path / "log.parquet")
        flags = (f"--answers={tmp_path}/log.parquet", f"--root={tmp_path}", "--if-changed")
        first, again = (last_line(job(*flags)) for _ in range(2))
        assert (first["changed"], again["changed"]) == (True, False)
        assert (again["version"], again["kept"], again["path"]) == (first["version"], first["kept"], first["path"])
        assert last_line(job(*flags, "--caution=50"))["changed"]
        for path in (tmp_path / "weights").glob("*/report.json"):
            path.unlink()
        assert last_line(job(*flags))["changed"]

    def test_too_few_clicks_may_be_no_failure(self, tmp_path: Path) -> None:
        pq.write_table(as_table(clicked_answers(WANTED, count=100)), tmp_path / "log.parquet")
        flags = (f"--answers={tmp_path}/log.parquet", f"--root={tmp_path}")
        assert job(*flags).returncode == 1
        assert "80 clicks in the older answers" in last_line(job(*flags, "--if-enough"))["skipped"]
        assert not (tmp_path / "weights").exists()

    def test_a_full_disk_leaves_no_half_of_a_result(self, tmp_path: Path) -> None:
        pq.write_table(as_table(clicked_answers(WANTED, count=1000)), tmp_path / "log.parquet")
        with small_disk(tmp_path / "disk", 1) as disk:
            fill(disk, leave=4096)
            done = job(f"--answers={tmp_path}/log.parquet", f"--root={disk}")
            assert done.returncode == 1
            assert "No space left on device" in done.stderr
            assert [path for path in (disk / "weights").rglob("*") if path.is_file()] == []

    def test_an_object_store_holds_the_result_as_well(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its URI ends with what says where the server is."""
        for name, value in CREDENTIALS.items():
            monkeypatch.setenv(name, value)
        pq.write_table(as_table(clicked_answers(WANTED, count=1000)), tmp_path / "log.parquet")
        with s3_server() as server:
            flags = (f"--answers={tmp_path}/log.parquet", f"--root={server.root('shop')}", "--if-changed")
            first, again = (last_line(job(*flags)) for _ in range(2))
            where = server.root(f"shop/weights/{first['version']}")
        assert (first["path"], first["changed"]) == (where, True)
        assert (again["path"], again["changed"]) == (where, False)

    def test_flags_may_stand_in_a_file(self, tmp_path: Path) -> None:
        pq.write_table(as_table(clicked_answers(WANTED, count=1000)), tmp_path / "log.parquet")
        (tmp_path / "flags.yaml").write_text(
            f"answers: {tmp_path}/log.parquet\nout: {tmp_path}/result\n"
            "least-clicks: 700\nserve-file: configs/serve_local.yaml\n"
        )
        assert last_line(job(f"--config={tmp_path}/flags.yaml"))["counts"]["clicks_learned_from"] == 800
        settings = json.loads((tmp_path / "result" / "report.json").read_text())["settings"]
        assert settings["least_clicks"] == 700

    @pytest.mark.parametrize(
        ("content", "complaint"),
        [
            (None, "serve.yaml cannot be read"),
            ("applications: [{deployments: [{name: search}]}]", "none with a deployment named ranking"),
            ("weights: {search: -1}", "weights.search: Input should be greater than or equal to 0"),
            ("wieghts: {}", "wieghts: Extra inputs are not permitted"),
            ("- a", "does not hold settings by name"),
        ],
    )
    def test_a_wrong_serve_file_is_named(self, tmp_path: Path, content: str | None, complaint: str) -> None:
        path = tmp_path / "serve.yaml"
        if content is not None:
            path.write_text(content)
        done = job(f"--serve-file={path}", f"--out={tmp_path}")
        assert done.returncode == 1
        assert complaint in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_it_asks_where_the_result_goes(self) -> None:
        done = job()
        assert done.returncode == 2
        assert "--root, SHORTLIST_ARTIFACTS or --out must say where the result goes" in done.stderr


class TestTrainingPage:
    def test_its_commands_work(self, database_url: str, tmp_path: Path) -> None:
        log_answers(database_url, clicked_answers(WANTED, count=2000, categories=("books", "films")))
        page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
        commands = re.split(r"<!-- weights -->", page)[1].strip().removeprefix("```bash").removesuffix("```")
        assert commands.count("\n") >= 3
        (tmp_path / "configs").symlink_to(ROOT / "configs")
        python = shlex.quote(sys.executable)
        done = subprocess.run(
            [
                "bash",
                "-ec",
                f'python() {{ {python} "$@"; }}\nshortlist() {{ {python} -m cluster.cli "$@"; }}\n{commands}',
            ],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **{name: value for name, value in os.environ.items() if not name.startswith("SHORTLIST_")},
                "SHORTLIST_DATABASE_URL": database_url,
                "SHORTLIST_STATE_DIR": "",
                "PYTHONPATH": str(ROOT),
            },
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout.splitlines()[-1])
        assert document["parts"][0]["weighted"]["ndcg_at_10"]["difference"]["low"] > 0
        assert (tmp_path / "answers.parquet").exists()
