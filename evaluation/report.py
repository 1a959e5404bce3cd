"""A comparison of recommenders, as text and as JSON; `evaluation.report_page` draws it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from evaluation.metrics import MEASURES
from evaluation.recommendation import Evaluation

LABELS = {
    "ndcg_at_10": "NDCG@10",
    "ndcg_at_20": "NDCG@20",
    "recall_at_20": "Recall@20",
    "mrr_at_20": "MRR@20",
    "map_at_20": "MAP@20",
}


@dataclass(frozen=True)
class Published:
    """A figure that somebody else reported for the same split."""

    model: str
    metrics: dict[str, float]
    source: str


@dataclass
class Comparison:
    """
    Recommenders on one data set.

    Args:
        data: Its name and how it was split.
        evaluations: By model, in the order of the table.
        published: Figures to stand beside them.
        targets: Least means that the model *of_ours* should reach.
        of_ours: The model that is compared with the others.
        notes: What else was measured, by what it is.
        ratios: What the model of ours costs, in units of what another does.
        seconds: How long what took.
    """

    data: str
    evaluations: dict[str, Evaluation]
    published: list[Published] = field(default_factory=list)
    targets: dict[str, float] = field(default_factory=dict)
    of_ours: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def as_text(comparisons: list[Comparison]) -> str:
    """Return a table for each data set: a row a model, means with half the width of their 95 % interval."""
    return "\n\n".join(_section(comparison) for comparison in comparisons)


def as_json(comparisons: list[Comparison]) -> str:
    """Return all there is to know."""
    return json.dumps([asdict(comparison) for comparison in comparisons], indent=2) + "\n"


def write(comparisons: list[Comparison], directory: Path, name: str) -> list[Path]:
    """Write the report below *directory* as text, JSON and a page; return where."""
    from evaluation.report_page import as_page  # noqa: PLC0415  it imports this module

    directory.mkdir(parents=True, exist_ok=True)
    contents = {"txt": as_text(comparisons) + "\n", "json": as_json(comparisons), "html": as_page(comparisons)}
    paths = []
    for suffix, content in contents.items():
        path = directory / f"{name}.{suffix}"
        path.write_text(content, encoding="utf-8")
        paths.append(path)
    return paths


def _section(comparison: Comparison) -> str:
    header = ["", *(LABELS[name] for name in MEASURES), "coverage", "novelty"]
    rows = [_row(model, evaluation) for model, evaluation in comparison.evaluations.items()]
    rows += [_published_row(each) for each in comparison.published]
    if comparison.targets:
        rows.append(_published_row(Published("target", comparison.targets, "")))
    lines = [comparison.data, *aligned([header, *rows])]
    lines += [f"  {name}: {value}" for name, value in comparison.notes.items()]
    parts = {name for each in comparison.evaluations.values() for name in each.segments}
    if parts:
        lines += ["", "  Recall@20 by part", *aligned(_parts(comparison))]
    return "\n".join(lines)


def _row(model: str, evaluation: Evaluation) -> list[str]:
    cells = [_cell(estimate.mean, estimate.high - estimate.low) for estimate in evaluation.metrics.values()]
    return [model, *cells, f"{evaluation.coverage:.3f}", f"{evaluation.novelty:.2f}"]


def _published_row(published: Published) -> list[str]:
    cells = [f"{published.metrics[name]:.4f}" if name in published.metrics else "" for name in MEASURES]
    source = f" ({published.source})" if published.source else ""
    return [published.model + source, *cells, "", ""]


def _cell(mean: float, width: float) -> str:
    return f"{mean:.4f} ±{width / 2:.4f}"


def _parts(comparison: Comparison) -> list[list[str]]:
    """The table of segments: a row a model, a column a segment with its number of users."""
    names: dict[str, int] = {}
    for evaluation in comparison.evaluations.values():
        names |= {name: part.users for name, part in evaluation.segments.items()}
    rows = [["", *(f"{name} ({users})" for name, users in names.items())]]
    for model, evaluation in comparison.evaluations.items():
        found = (evaluation.segments.get(name) for name in names)
        rows.append([model, *(f"{part.metrics['recall_at_20'].mean:.4f}" if part else "" for part in found)])
    return rows


def aligned(rows: list[list[str]]) -> list[str]:
    """Return *rows*, all of one length, as lines of a table: the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) if not column else cell.rjust(width) for column, (cell, width) in pairs)
        for pairs in (list(enumerate(zip(row, widths, strict=True))) for row in rows)
    ]
