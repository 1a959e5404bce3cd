"""Where a weights job leaves what it found: a report, and a Serve file to deploy if it was better."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs as arrow_fs

from artifacts.errors import ArtifactStoreUnavailable
from evaluation.click_metrics import NAMES
from training.ranking_file import as_yaml, serve_file_with, user_config
from training.weights_report import WeightsReport, lines


def as_document(version: str, report: WeightsReport) -> dict[str, Any]:
    """*report* as JSON takes it."""
    return {
        "kind": "weights",
        "version": version,
        "kept": report.kept,
        "why": report.why,
        "present": {"version": report.present.version, "user_config": user_config(report.present)},
        "fitted": {"version": report.fitted.version, "user_config": user_config(report.fitted)},
        "split_at": datetime.fromtimestamp(report.split_at, UTC).isoformat(),
        "position_bias": report.position_bias,
        "steepness": report.steepness,
        "counts": report.counts,
        "sets": [
            {
                "category": each.category,
                "clicks": each.clicks,
                "features": {move.feature: {**asdict(move), "reason": move.reason} for move in each.moves},
            }
            for each in report.sets
        ],
        "figures": asdict(report.overall),
        "figures_by_category": [asdict(each) for each in report.by_category],
    }


def store_result(
    where: str, version: str, report: WeightsReport, serve_file: Path, *, settings: dict[str, object]
) -> list[str]:
    """
    Write ``report.json`` and ``report.txt`` below *where*.

    If the weights are kept also ``ranking.yaml``, the ``user_config`` of ranking, and ``serve.yaml``, the Serve file
    with it in place.

    Args:
        where: A directory, or a URI that ``pyarrow.fs`` understands.
        version: Its name.
        report: What was found.
        serve_file: Where the present weights stand.
        settings: What the job was told.

    Returns:
        The names of the files.

    Raises:
        ArtifactStoreUnavailable: nothing can be written there.
    """
    document = {**as_document(version, report), "settings": settings}
    files = {"report.json": json.dumps(document, indent=1) + "\n", "report.txt": "\n".join(lines(report)) + "\n"}
    if report.kept:
        files["ranking.yaml"] = as_yaml(user_config(report.fitted))
        files["serve.yaml"] = f"# Weights {version}: {report.why}\n" + serve_file_with(serve_file, report.fitted)
    try:
        uri = where if "://" in where else Path(where).expanduser().absolute().as_uri()
        filesystem, directory = arrow_fs.FileSystem.from_uri(uri)
        filesystem.create_dir(directory, recursive=True)
        for name, content in files.items():
            with filesystem.open_output_stream(f"{directory}/{name}") as stream:
                stream.write(content.encode())
    except (OSError, pa.ArrowException) as error:
        raise ArtifactStoreUnavailable(
            f"The result cannot be written to {where}: {error}. Choose another --out"
        ) from error
    return list(files)


def conclude(version: str, report: WeightsReport, where: str, seconds: dict[str, float]) -> None:
    """Print the job's last line: one JSON object."""
    metrics: dict[str, Any] = {}
    for name in NAMES:
        figure = report.overall.weighted[name]
        metrics |= {
            f"{name}_before": figure.first.mean,
            name: figure.second.mean,
            f"{name}_difference": [figure.difference.mean, figure.difference.low, figure.difference.high],
        }
    told = {
        "kind": "weights",
        "version": version,
        "kept": report.kept,
        "why": report.why,
        "weights": report.fitted.version,
        "path": where,
        "metrics": metrics,
        "counts": report.counts,
        "seconds": seconds,
    }
    print(json.dumps(told), flush=True)
