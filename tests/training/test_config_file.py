from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from training.arguments import job_parser, whole
from training.config_file import parsed_flags


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "embeddings.yaml"


def flags(config: Path, content: str, *arguments: str) -> argparse.Namespace:
    config.write_text(content)
    parser = job_parser("training.test", "A test.")
    parser.add_argument("--threads", type=whole, default=2)
    parser.add_argument("--least-recall", type=float, default=0.95)
    parser.add_argument("--part", choices=["month", "day"])
    parser.add_argument("--only", action="append", choices=["month", "day"])
    return parsed_flags(parser, ["--config", str(config), *arguments])


class TestParsedFlags:
    def test_a_file_says_what_flags_say(self, config: Path) -> None:
        found = flags(config, "root: /artifacts\nthreads: 3\nleast-recall: 0.9\nactivate: false\n")
        assert (found.root, found.threads, found.least_recall, found.activate) == ("/artifacts", 3, 0.9, False)

    def test_the_command_line_counts_more(self, config: Path) -> None:
        assert flags(config, "root: /a\nthreads: 3\n", "--threads=5", "--root=/b").threads == 5

    def test_a_flag_that_may_come_several_times_is_a_list(self, config: Path) -> None:
        assert flags(config, "root: /a\nonly: [month, day]\n").only == ["month", "day"]
        assert flags(config, "root: /a\nonly: month\npart: day\n", "--only=day").only == ["month", "day"]

    def test_what_neither_says_is_the_default(self, config: Path) -> None:
        assert flags(config, "", "--root=/a").threads == 2

    def test_a_flag_has_to_be_written_out(self, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Of an abbreviated --config the file would not be read."""
        config.write_text("threads: 3\n")
        parser = job_parser("training.test", "A test.")
        with pytest.raises(SystemExit):
            parsed_flags(parser, ["--root=/a", "--conf", str(config)])
        assert "unrecognized arguments: --conf" in capsys.readouterr().err

    def test_a_flag_has_its_own_name_there_whatever_it_is_called_inside(self, config: Path) -> None:
        config.write_text("from: popularity\n")
        parser = job_parser("training.test", "A test.")
        parser.add_argument("--from", dest="first")
        assert parsed_flags(parser, ["--config", str(config), "--root=/a"]).first == "popularity"

    def test_a_section_is_taken_as_it_stands(self, config: Path) -> None:
        config.write_text("search: {alpha: [1, 2]}\nmargin: null\n")
        parser = job_parser("training.test", "A test.")
        found = parsed_flags(parser, ["--config", str(config), "--root=/a"], sections=["search", "other"])
        assert (found.search, found.other) == ({"alpha": [1, 2]}, None)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("thread: 3", "there is no flag thread; known are activate, force, least_recall, margin, only, part, root"),
            ("threads: 0", "0 is not a whole number above 0"),
            ("threads: true", "not a text or a number"),
            ("activate: 3", "not true or false"),
            ("- threads", "does not hold flags by name"),
            ("threads: [", "cannot be read"),
            ("part: week", "part is 'week', not one of month, day"),
            ("only: [day, week]", "only is 'week', not one of month, day"),
        ],
    )
    def test_what_is_wrong_is_said(
        self, config: Path, content: str, problem: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit):
            flags(config, content, "--root=/a")
        assert problem in capsys.readouterr().err
