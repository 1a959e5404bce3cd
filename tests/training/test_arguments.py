from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from training.arguments import duration, fraction, positive, require_writable, runs_at, seed, share, whole
from training.errors import WrongInput


class TestValues:
    @pytest.mark.parametrize(
        ("taken", "good", "bad"),
        [
            (positive, ["0.1", "1e9"], ["0", "-1", "nan", "inf", "x"]),
            (share, ["0", "1"], ["-0.1", "1.1", "nan", "x"]),
            (fraction, ["0.1", "0.9"], ["0", "1", "nan", "x"]),
            (duration, ["0", "60.5"], ["-1", "nan", "inf", "x"]),
            (seed, ["0", "4294967295"], ["-1", "4294967296", "1.5", "x"]),
            (whole, ["1", "9"], ["0", "-1", "1.5", "x"]),
        ],
    )
    def test_what_is_out_of_range_or_no_number_is_named(
        self, taken: Callable[[str], float], good: list[str], bad: list[str]
    ) -> None:
        assert [taken(each) for each in good] == [float(each) for each in good]
        for each in bad:
            with pytest.raises(argparse.ArgumentTypeError, match=f"^{each} is not a"):
                taken(each)


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


class TestRequireWritable:
    def test_a_directory_is_made_and_nothing_left_in_it(self, tmp_path: Path) -> None:
        require_writable(tmp_path / "new" / "root")
        assert list((tmp_path / "new" / "root").iterdir()) == []

    def test_what_cannot_be_one_is_named_with_its_flag(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(WrongInput, match=r"^--out: nothing can be written to .*file/out: Not a directory"):
            require_writable(tmp_path / "file" / "out", "--out")
