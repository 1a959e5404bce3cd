"""One table over everything that was measured, as text, JSON and a page that links the single reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from evaluation.report import aligned
from evaluation.report_page import framed

Status = Literal["met", "missed", ""]
_WIDTH, _LEFT, _ROW, _FULL, _LONGEST = 720, 310, 24, 240, 1.2


@dataclass(frozen=True)
class Row:
    """
    One figure.

    Args:
        part: What was measured, as `--only` names it.
        what: The figure's name.
        figure: What was found; None where it could not be.
        target: What it should be; None: it stands for comparison.
        most: Whether the target is the most that it may be, and not the least.
        frozen: What it was; None where that is not written down.
        tolerance: How far from that it may lie.
        note: What to know about it.
    """

    part: str
    what: str
    figure: float | None
    target: float | None = None
    most: bool = False
    frozen: float | None = None
    tolerance: float = 0.0
    note: str = ""

    @property
    def status(self) -> Status:
        """Whether the target is met; nothing where there is none."""
        if self.target is None:
            return ""
        if self.figure is None:
            return "missed"
        return "met" if (self.figure <= self.target if self.most else self.figure >= self.target) else "missed"

    @property
    def moved(self) -> bool:
        """Whether it is not what it was."""
        return self.figure is not None and self.frozen is not None and abs(self.figure - self.frozen) > self.tolerance

    def document(self) -> dict[str, Any]:
        """All there is to know."""
        return asdict(self) | {"status": self.status, "moved": self.moved}

    def cells(self) -> list[str]:
        """The cells of its line of the table."""
        target = "" if self.target is None else f"{'<=' if self.most else '>='} {_number(self.target)}"
        frozen = "" if self.frozen is None else f"{_number(self.frozen)} ±{self.tolerance:g}"
        drift = "MOVED" if self.moved else ""
        return [self.part, self.what, _number(self.figure), target, self.status, frozen, drift, self.note]


HEADER = ["part", "figure", "found", "target", "", "frozen", "", "note"]


@dataclass(frozen=True)
class Part:
    """
    What came of one step.

    Args:
        name: As `--only` names it.
        seconds: It took.
        rows: Its figures.
        reports: Files that it wrote.
        failure: Why there are no figures; empty where there are.
    """

    name: str
    seconds: float
    rows: list[Row]
    reports: list[Path]
    failure: str = ""


def frozen(
    rows: Sequence[Row], golden: Mapping[str, Mapping[str, float]], tolerances: Mapping[str, float]
) -> list[Row]:
    """
    Return *rows* with what they were.

    Args:
        rows: Of any parts.
        golden: By part, then figure.
        tolerances: By part.
    """
    found = []
    for row in rows:
        was = golden.get(row.part, {}).get(row.what)
        known = {} if was is None else {"frozen": was, "tolerance": tolerances.get(row.part, 0.0)}
        found.append(Row(**(asdict(row) | known)))
    return found


def as_text(parts: Sequence[Part]) -> str:
    """Return the table: a line a figure, and a line for what failed."""
    cells = [row.cells() for part in parts for row in part.rows]
    lines = _left_aligned([HEADER, *cells]) if cells else []
    lines += [f"  {part.name} failed: {part.failure}" for part in parts if part.failure]
    lines.append(f"  {summary(parts)}")
    return "\n".join(lines)


def summary(parts: Sequence[Part]) -> str:
    """How many targets are met, and how many figures are not what they were."""
    rows = [row for part in parts for row in part.rows]
    met, missed = (sum(row.status == status for row in rows) for status in ("met", "missed"))
    moved, failed = sum(row.moved for row in rows), sum(bool(part.failure) for part in parts)
    known = sum(row.frozen is not None for row in rows)
    return f"{met} targets met, {missed} missed; {moved} of {known} frozen figures moved; {failed} parts failed"


def write(parts: Sequence[Part], directory: Path, *, title: str) -> list[Path]:
    """Write ``all.txt``, ``all.json`` and ``index.html`` below *directory*; return where."""
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "summary": summary(parts),
        "parts": [
            {
                "name": part.name,
                "seconds": round(part.seconds, 1),
                "failure": part.failure,
                "reports": [_link(path, directory) for path in part.reports],
                "rows": [row.document() for row in part.rows],
            }
            for part in parts
        ],
    }
    contents = {
        "all.txt": as_text(parts),
        "all.json": json.dumps(document, indent=2),
        "index.html": as_page(parts, directory, title=title),
    }
    paths = []
    for name, content in contents.items():
        paths.append(directory / name)
        paths[-1].write_text(content.rstrip("\n") + "\n", encoding="utf-8")
    return paths


def as_page(parts: Sequence[Part], directory: Path, *, title: str) -> str:
    """Return the page: figures beside their targets, and each part with its table and a link to its reports."""
    aimed = [row for part in parts for row in part.rows if row.target]
    sections = "".join(_section(part, directory) for part in parts)
    return framed(
        title,
        f"<p>{escape(summary(parts))}</p><h2>Figures beside their targets</h2>"
        '<p class="soft">The bar ends at the figure, the dashed line is the target. Where less is better, the bar must '
        f"end before it.</p>{_targets(aimed)}{sections}",
    )


def _section(part: Part, directory: Path) -> str:
    links = " ".join(f'<a href="{escape(_link(path, directory))}">{escape(path.name)}</a>' for path in part.reports)
    rows = "".join(
        f'<tr class="{"ours" if row.target is not None else ""}">'
        + "".join(f"<td>{escape(cell)}</td>" for cell in row.cells()[1:])
        + "</tr>"
        for row in part.rows
    )
    header = "".join(f"<th>{escape(cell)}</th>" for cell in HEADER[1:])
    return (
        f'<h2>{escape(part.name)}</h2><p class="soft">{part.seconds:,.0f} s. {links}</p>'
        + (f"<p>Failed: {escape(part.failure)}</p>" if part.failure else "")
        + (f"<div class=wide><table><tr>{header}</tr>{rows}</table></div>" if rows else "")
    )


def _targets(rows: Sequence[Row]) -> str:
    """Bars in units of the target, cut at a fifth more."""
    drawn = []
    for number, row in enumerate(rows):
        assert row.target
        middle = number * _ROW + 14
        share = 0.0 if row.figure is None else min(_LONGEST, max(0.0, row.figure / row.target))
        colour = "--ours" if row.status == "met" else "--published"
        drawn.append(
            f'<text x="{_LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(row.part)}: {escape(row.what)}</text>'
            f'<rect x="{_LEFT}" y="{middle - 8}" width="{share * _FULL:.1f}" height="16" rx="2" fill="var({colour})"/>'
            f'<text x="{_LEFT + max(share, 1.0) * _FULL + 8:.1f}" y="{middle + 4}">{escape(_number(row.figure))} '
            f"({escape(row.status)})</text>"
        )
    height = len(rows) * _ROW + 8
    drawn.append(f'<path d="M{_LEFT + _FULL} 0V{height}" stroke="var(--soft)" stroke-dasharray="4 4"/>')
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="figures beside targets">{"".join(drawn)}</svg>'


def _left_aligned(rows: list[list[str]]) -> list[str]:
    """Lines of a table whose first two and last columns stand to the left."""
    width = max(len(row[1]) for row in rows)
    lines = aligned([[row[0], row[1].ljust(width), *row[2:-1]] for row in rows])
    return [f"{line}  {row[-1]}".rstrip() for line, row in zip(lines, rows, strict=True)]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"  # noqa: PLR2004


def _link(path: Path, directory: Path) -> str:
    return path.relative_to(directory).as_posix() if path.is_relative_to(directory) else path.as_posix()
