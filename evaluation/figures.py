"""From the JSON that each measurement leaves to rows of one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evaluation.all_report import Row
from evaluation.bare_fit import MOST_TIMES_BARE
from evaluation.report import LABELS
from evaluation.search_report import LABELS as SEARCH_LABELS

LEAST_RECALL = 0.95
MOST_BUILD_S = 1800.0
_CHARTED = ("recall_at_20", "ndcg_at_20")
_ALS = "ALS (the job)"
_BESIDE = ("popularity", "item-kNN")
_SERVED_INDEX = "IVF2048,SQ8"
_EXACT = "Flat"


@dataclass(frozen=True)
class Golden:
    """
    Figures as they were.

    Args:
        figures: By part, then by the figure's name in the table.
        tolerances: By part.
    """

    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    tolerances: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Golden:
        """Read what ``golden.yaml`` holds."""
        golden = cls()
        rooms: list[tuple[str, Mapping[str, str], str]]
        rooms = [("collaborative", LABELS, "ALS"), ("search", SEARCH_LABELS, "by both")]
        for room, labels, ours in rooms:
            for part, held in document.get(room, {}).items():
                figures = held.get(ours)
                if isinstance(figures, Mapping):
                    golden.figures[part] = {labels.get(name, name): value for name, value in figures.items()}
                    golden.tolerances[part] = held["tolerance"]
        for part, held in document.get("measured", {}).items():
            golden.figures[part] = {name: value for name, value in held.items() if name != "tolerance"}
            golden.tolerances[part] = held["tolerance"]
        return golden


def collaborative_rows(part: str, document: list[dict[str, Any]]) -> list[Row]:
    """Recall and NDCG of the job, beside those of popularity and item-kNN, and what the fit costs."""
    (found,) = document
    rows = []
    for metric in _CHARTED:
        ours = found["evaluations"][_ALS]["metrics"][metric]
        note = f"{ours['low']:.4f} to {ours['high']:.4f}"
        rows.append(Row(part, LABELS[metric], ours["mean"], found["targets"].get(metric), note=note))
        for other in _BESIDE:
            if other in found["evaluations"]:
                mean = found["evaluations"][other]["metrics"][metric]["mean"]
                rows.append(Row(part, f"{LABELS[metric]}, {other}", mean))
    # What a fit of a second costs is what a worker costs: no target where none is set for the data set at all.
    most = MOST_TIMES_BARE if found["targets"] else None
    rows += [Row(part, name, ratio, most, most=True) for name, ratio in found.get("ratios", {}).items()]
    rows += [Row(part, name, value, note="seconds") for name, value in found.get("seconds", {}).items()]
    return rows


def search_rows(part: str, document: list[dict[str, Any]]) -> list[Row]:
    """NDCG of search by words and meaning, beside that by one of the two."""
    (found,) = document
    rows = []
    for metric, ours in found["modes"][found["of_ours"]].items():
        label, note = SEARCH_LABELS.get(metric, metric), f"{ours['low']:.4f} to {ours['high']:.4f}"
        rows.append(Row(part, label, ours["mean"], found["targets"].get(metric), note=note))
        rows += [
            Row(part, f"{label}, {mode}", values[metric]["mean"])
            for mode, values in found["modes"].items()
            if mode != found["of_ours"] and metric in values
        ]
    return rows


def vector_rows(part: str, document: dict[str, Any]) -> list[Row]:
    """Recall, time to build, memory and time of a query, of the index that is served beside others."""
    rows = []
    for kind, found in document["kinds"].items():
        name, is_ours = kind, kind == _SERVED_INDEX
        rows += [
            Row(part, f"{name}: recall@10", found["recall"], LEAST_RECALL if is_ours else None),
            Row(part, f"{name}: seconds to build", found["seconds"], MOST_BUILD_S if is_ours else None, most=True),
            Row(part, f"{name}: MB while building", found["build_mb"]),
            Row(part, f"{name}: MB loaded", found["load_mb"]),
            Row(part, f"{name}: query p50 ms", found["p50"]),
            Row(part, f"{name}: query p95 ms", found["p95"]),
        ]
    kinds = document["kinds"]
    if {_SERVED_INDEX, _EXACT} <= set(kinds):
        times = kinds[_EXACT]["p50"] / kinds[_SERVED_INDEX]["p50"]
        rows.append(Row(part, f"{_EXACT} p50 / {_SERVED_INDEX} p50", times, note=f"{document['vectors']:,} vectors"))
    return rows


def training_rows(part: str, document: dict[str, Any]) -> list[Row]:
    """Latency of searches beside a training job, and without."""
    rows = [
        Row(part, f"{name}, {phase}", value, note="ms")
        for phase, figures in document["ms"].items()
        for name, value in figures.items()
    ]
    rows += [Row(part, f"{name}, beside / without", ratio) for name, ratio in document["ratios"].items()]
    share = f"training had {document['training_cpu']:.0%} of the machine"
    return [*rows, Row(part, "answers missing", document["missing"], 0.0, most=True, note=share)]
