"""``shortlist replay`` on a database that the environment names, and on a log of answers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

from cluster.state_directory import project_root
from evaluation.logged_answers import LoggedAnswers
from ranking.config import RankingConfig
from tests.evaluation.made_up_answers import clicked_answers, config_of
from tests.servers import Servers
from tests.training.answer_rows import log_answers

OTHER = "weights: {search: 0.15, cf: 0.6, popularity: 0.05, freshness: 0.2}\n"
SERVE_FILE = "configs/serve_config.yaml"


def replay(state_dir: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHORTLIST_")}
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", "replay", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**environment, **settings, "SHORTLIST_STATE_DIR": str(state_dir)},
        cwd=project_root(),
    )


class TestReplayCommand:
    def test_it_reads_from_a_replica_and_can_do_so_again_from_a_file(
        self, servers: Servers, database_url: str, tmp_path: Path
    ) -> None:
        answers = clicked_answers(config_of(0.15, 0.6, 0.05, 0.2), count=400)
        log_answers(database_url, answers)
        servers.replay()
        (tmp_path / "other.yaml").write_text(OTHER)
        files = [SERVE_FILE, str(tmp_path / "other.yaml")]
        settings = {
            # The primary is not there: only the replica can have answered.
            "SHORTLIST_DATABASE_URL": f"postgresql://nobody@/nothing?host={tmp_path}",
            "SHORTLIST_REPLICA_URLS": servers.replica_url_of(database_url),
        }
        done = replay(tmp_path, *files, f"--save={tmp_path}/log.parquet", "--json", **settings)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["first"]["weights"] == RankingConfig().version
        assert document["parts"][0]["clicks"] == 400
        assert document["parts"][0]["weighted"]["ndcg_at_10"]["difference"]["low"] > 0
        assert len(LoggedAnswers.of_table(pq.read_table(tmp_path / "log.parquet"))) == 400
        again = replay(tmp_path, *files, f"--answers={tmp_path}/log.parquet", "--json")
        assert json.loads(again.stdout) == document
        table = replay(tmp_path, *files, f"--answers={tmp_path}/log.parquet").stdout
        assert re.search(r"^all ndcg_at_10 +400 +0\.\d{4} +0\.\d{4} +\+0\.\d{4}", table, flags=re.MULTILINE)

    def test_one_ranking_is_not_enough(self, tmp_path: Path) -> None:
        done = replay(tmp_path, SERVE_FILE, f"--answers={tmp_path}/log.parquet", "--json")
        assert done.returncode == 1
        assert "There is one ranking" in json.loads(done.stdout)["error"]

    def test_without_any_place_to_read_from_it_says_where_to_get_one(self, tmp_path: Path) -> None:
        done = replay(tmp_path, SERVE_FILE, SERVE_FILE, "--json")
        assert done.returncode == 3
        assert "or give --answers" in json.loads(done.stdout)["error"]

    def test_a_file_that_is_no_log_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "log.parquet").write_text("nothing of the kind")
        done = replay(tmp_path, SERVE_FILE, SERVE_FILE, f"--answers={tmp_path}/log.parquet", "--json")
        assert done.returncode == 1
        assert "log.parquet cannot be read as parquet" in json.loads(done.stdout)["error"]
