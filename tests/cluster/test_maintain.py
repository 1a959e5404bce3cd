"""``shortlist maintain`` on a database that the environment names."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from cluster.state_directory import project_root


@pytest.fixture
def old_event(database_url: str) -> None:
    """One event of May 2020."""

    async def add() -> None:
        connection = await asyncpg.connect(database_url)
        await connection.execute(
            "insert into events (id, user_id, product_id, type, occurred_at)"
            " values ('e', 'u', 'p', 'view', '2020-05-17')"
        )
        await connection.close()

    asyncio.run(add())


def maintain(database_url: str, state_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", "maintain", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "SHORTLIST_DATABASE_URL": database_url, "SHORTLIST_STATE_DIR": str(state_dir)},
        cwd=project_root(),
    )


class TestMaintain:
    def test_one_task_tells_what_it_did(self, database_url: str, tmp_path: Path) -> None:
        done = maintain(database_url, tmp_path, "--task", "partitions", "--json")
        assert done.returncode == 0, done.stderr
        assert [(run["name"], run["outcome"]) for run in json.loads(done.stdout)["runs"]] == [
            ("partitions", {"made": 0})
        ]

    @pytest.mark.usefixtures("old_event")
    def test_old_months_are_detached_and_named(self, database_url: str, tmp_path: Path) -> None:
        done = maintain(database_url, tmp_path, "--detach-older-than", "12")
        assert done.returncode == 0, done.stderr
        assert "events_2020_05 (1 rows from events_default)" in done.stderr
        assert "pg_dump" in done.stderr

    def test_no_such_task_is_a_wrong_option(self, database_url: str, tmp_path: Path) -> None:
        done = maintain(database_url, tmp_path, "--task", "laundry")
        assert (done.returncode, "laundry" in done.stderr) == (2, True)

    def test_a_task_that_fails_gives_exit_code_1(self, tmp_path: Path) -> None:
        nobody = "postgresql://shortlist@/shortlist?host=/nonexistent&port=5432"
        done = maintain(nobody, tmp_path, "--task", "partitions")
        assert (done.returncode, "partitions failed" in done.stderr) == (1, True)
