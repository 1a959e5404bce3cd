"""Every command of docs/artifacts.md, run in order, says what the page says."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from tests.cluster.artifact_shop import ACTIVE, Graph, fill, in_process

PAGE = Path(__file__).parents[2] / "docs" / "artifacts.md"
CONSOLE = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
# What another release of a library may change: sizes, checksums, the blanks that a table is filled up with.
VARIES = (
    (re.compile(r"\b\d[\d.,]* (B|kB|MB|bytes)\b"), "SIZE"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "SHA"),
    (re.compile(r"[ ─]+"), " "),
)


def steady(text: str) -> list[str]:
    for pattern, word in VARIES:
        text = pattern.sub(word, text)
    return [line.strip() for line in text.splitlines()]


def transcript(text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The commands of *text*, each with what it says now."""
    said = []
    for line in text.splitlines():
        if line.startswith("$ "):
            done = in_process(monkeypatch, capsys, *shlex.split(line.removeprefix("$ shortlist ")))
            said += [line, *(each.rstrip() for each in (done.out + done.err).splitlines())]
    return "\n".join(said) + "\n"


class TestArtifactsPage:
    def test_its_outputs_are_what_the_commands_say(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in [name for name in os.environ if name.startswith("SHORTLIST_")]:
            monkeypatch.delenv(name)
        fill(tmp_path / "artifacts", tmp_path / "sources")
        monkeypatch.setenv("SHORTLIST_STATE_DIR", str(tmp_path))
        page = PAGE.read_text(encoding="utf-8")
        with Graph.started() as graph:
            graph.serves(ACTIVE)
            graph.deployments["search"] = graph.deployments["ranking"]["collaborative"] | {"version": None}
            monkeypatch.setenv("SHORTLIST_URL", graph.url)
            shown = [(block, transcript(block, monkeypatch, capsys)) for block in CONSOLE.findall(page)]
        assert len(shown) >= 6
        for told, said in shown:
            assert steady(said) == steady(told)
