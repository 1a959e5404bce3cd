from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from training.settings_file import add_config, parsed


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    add_config(parser)
    parser.add_argument("--factors", type=int, default=32)
    parser.add_argument("--holdout-share", type=float, default=0.2)
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--no-activate", dest="activate", action="store_false")
    return parser


class TestParsed:
    def test_flags_win_over_the_file_and_the_file_over_defaults(
        self, parser: argparse.ArgumentParser, tmp_path: Path
    ) -> None:
        path = tmp_path / "settings.yaml"
        path.write_text("factors: 64\nholdout_share: 0.1\nbaselines: true\nactivate: false\nsearch: {alpha: 1}\n")
        flags, sections = parsed(parser, ["search"], [f"--config={path}", "--factors=8"])
        assert vars(flags) == {
            "config": str(path),
            "factors": 8,
            "holdout_share": 0.1,
            "baselines": True,
            "activate": False,
        }
        assert sections == {"search": {"alpha": 1}}

    def test_without_a_file_flags_are_flags(self, parser: argparse.ArgumentParser) -> None:
        flags, sections = parsed(parser, ["search"], ["--factors=8"])
        assert (flags.factors, sections) == (8, {})

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            ("factor_count: 3", "--factor-count=3"),
            ("factors: many", "invalid int value"),
            ("- factors", "names and values"),
            ("factors: [", "cannot be read"),
        ],
    )
    def test_what_is_wrong_in_the_file_is_said_as_of_a_flag(
        self,
        parser: argparse.ArgumentParser,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        content: str,
        says: str,
    ) -> None:
        path = tmp_path / "settings.yaml"
        path.write_text(content)
        with pytest.raises(SystemExit):
            parsed(parser, arguments=[f"--config={path}"])
        assert says in capsys.readouterr().err
