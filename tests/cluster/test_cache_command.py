"""``shortlist cache verify`` on servers that the environment names."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from cluster.state_directory import project_root
from storage.cache import Cache
from tests.servers import Servers


def verify(state_dir: Path, *arguments: str, **servers: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHORTLIST_")}
    return subprocess.run(
        [sys.executable, "-m", "cluster.cli", "cache", "verify", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**environment, **servers, "SHORTLIST_STATE_DIR": str(state_dir)},
        cwd=project_root(),
    )


async def leave_one_result(redis_url: str) -> None:
    """One result of a former epoch, and nothing else."""
    cache = Cache(redis_url, timeout_s=10)
    assert cache._redis is not None
    await cache._redis.flushdb()
    await cache.set_many({"results:1:abc": b"{}"}, 60)
    cache._epoch.lost()
    await cache.get_many(["anything"])
    await cache.close()


class TestCacheVerify:
    def test_it_tells_what_it_did(self, servers: Servers, database_url: str, tmp_path: Path) -> None:
        settings = {"SHORTLIST_DATABASE_URL": database_url, "SHORTLIST_REDIS_URL": servers.redis_url}
        asyncio.run(leave_one_result(servers.redis_url))
        done = verify(tmp_path, "--json", **settings)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["purposes"] == {"results": {"carried": 0, "superseded": 0, "deleted": 1}}
        again = verify(tmp_path, **settings)
        assert again.returncode == 0
        assert "nothing was left from before" in again.stderr

    def test_a_server_that_is_down_is_named(self, servers: Servers, database_url: str, tmp_path: Path) -> None:
        nowhere = "unix:///nonexistent.sock"
        done = verify(tmp_path, "--json", SHORTLIST_DATABASE_URL=database_url, SHORTLIST_REDIS_URL=nowhere)
        assert done.returncode == 1
        assert "Redis does not answer" in json.loads(done.stdout)["error"]
        done = verify(
            tmp_path,
            SHORTLIST_DATABASE_URL=f"postgresql://nobody@/nothing?host={tmp_path}",
            SHORTLIST_REDIS_URL=servers.redis_url,
        )
        assert done.returncode == 1
        assert "The primary does not answer" in done.stderr

    def test_without_a_stack_or_settings_nothing_is_done(self, database_url: str, tmp_path: Path) -> None:
        assert verify(tmp_path).returncode == 3
        assert verify(tmp_path, SHORTLIST_DATABASE_URL=database_url).returncode == 2
