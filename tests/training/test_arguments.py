from __future__ import annotations

from pathlib import Path

import pytest

from training.arguments import runs_at


class TestRunsAt:
    @pytest.mark.parametrize(
        ("root", "runs", "expected"),
        [
            ("s3://bucket/prefix?region=x", None, "s3://bucket/prefix/runs/encoder?region=x"),
            ("s3://bucket/prefix", "s3://bucket/runs?region=x", "s3://bucket/runs/encoder?region=x"),
            ("/artifacts/", None, "/artifacts/runs/encoder"),
            ("artifacts", None, str(Path.cwd() / "artifacts" / "runs" / "encoder")),
        ],
    )
    def test_they_lie_below_the_root_or_where_they_are_told_to(
        self, root: str, runs: str | None, expected: str
    ) -> None:
        assert runs_at(root, runs, "encoder") == expected
