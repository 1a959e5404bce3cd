"""Search by every mode beside its targets, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from evaluation.intervals import bootstrap_intervals
from evaluation.recommendation import DECIMALS, Estimate
from evaluation.report import aligned
from evaluation.search_data import SearchSet
from evaluation.search_metrics import answerable, search_metrics

LABELS = {"ndcg_at_10": "NDCG@10", "judged_ndcg_at_10": "NDCG@10, judged only"}


@dataclass(frozen=True)
class SearchComparison:
    """
    The modes of search on one data set.

    Args:
        data: Its name and size.
        modes: Means over queries by mode and measure.
        reported: What others reach, by method and measure.
        targets: Least means that the mode *of_ours* should reach, by measure.
        of_ours: The mode that the targets are for.
        lists: Products by mode and query, best first, as far as a measure can see.
    """

    data: str
    modes: dict[str, dict[str, Estimate]]
    reported: dict[str, dict[str, float]]
    targets: dict[str, float]
    of_ours: str
    lists: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    def missed(self) -> list[str]:
        """The measures that stay below their target."""
        found = self.modes[self.of_ours]
        return [name for name, least in self.targets.items() if found[name].mean < least]


def compared(
    search_set: SearchSet, lists: Mapping[str, Mapping[str, Sequence[str]]], *, of_ours: str
) -> SearchComparison:
    """Return what *lists*, products by mode and query, are worth."""
    asked, counted = len(search_set.queries), len(answerable(search_set.judgments))
    return SearchComparison(
        data=f"{search_set.title}: {len(search_set.products):,} products, {asked} queries, {counted} with an answer",
        modes={mode: _estimates(search_set, each) for mode, each in lists.items()},
        reported=search_set.reported,
        targets=search_set.targets,
        of_ours=of_ours,
        lists={mode: {query: list(found)[:10] for query, found in each.items()} for mode, each in lists.items()},
    )


def as_text(comparisons: Sequence[SearchComparison]) -> str:
    """Return a table for each data set: a row a mode, means with half the width of their 95 % interval."""
    return "\n\n".join(_section(comparison) for comparison in comparisons)


def write(comparisons: Sequence[SearchComparison], directory: Path, name: str) -> list[Path]:
    """Write the report below *directory* as text and JSON; return where."""
    directory.mkdir(parents=True, exist_ok=True)
    document = json.dumps([asdict(comparison) for comparison in comparisons], indent=2)
    paths = []
    for suffix, content in {"txt": as_text(comparisons), "json": document}.items():
        path = directory / f"{name}.{suffix}"
        path.write_text(content + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def _estimates(search_set: SearchSet, lists: Mapping[str, Sequence[str]]) -> dict[str, Estimate]:
    values = search_metrics(lists, search_set.judgments, search_set.measures)
    table = np.column_stack(list(values.values()))
    low, high = bootstrap_intervals(table)
    return {
        name: Estimate(*(round(float(each[column]), DECIMALS) for each in (table.mean(axis=0), low, high)))
        for column, name in enumerate(values)
    }


def _section(comparison: SearchComparison) -> str:
    measures = list(comparison.modes[comparison.of_ours])
    rows = [["", *(LABELS[name] for name in measures)]]
    for mode, found in comparison.modes.items():
        cells = [f"{found[name].mean:.4f} ±{(found[name].high - found[name].low) / 2:.4f}" for name in measures]
        rows.append([mode, *cells])
    others = {f"{method} (reported)": figures for method, figures in comparison.reported.items()}
    for method, figures in {**others, "target": comparison.targets}.items():
        rows.append([method, *(f"{figures[name]:.3f}" if name in figures else "" for name in measures)])
    return "\n".join([comparison.data, *aligned(rows)])
