"""Where a weights job leaves what it found: a report, and a Serve file to deploy if it was better."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs as arrow_fs

from artifacts.errors import ArtifactStoreUnavailable
from artifacts.manifest import is_version
from evaluation.click_metrics import NAMES
from evaluation.logged_answers import LoggedAnswers
from training.ranking_file import as_yaml, serve_file_with, user_config
from training.weights_report import WeightsReport, lines

REPORT_FILE = "report.json"
"""Written last: a directory without it is what a killed job left."""
_SERVE_FILE = "serve.yaml"


def made_from(answers: LoggedAnswers, serve_file: Path, settings: Mapping[str, object]) -> str:
    """Return what says of the clicks, of the file in use and of the settings whether they are the same."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    found.update(hashlib.sha256(serve_file.read_bytes()).digest())
    for column in (answers.kinds, answers.user_ids, answers.product_ids, answers.categories):
        found.update(json.dumps(list(column)).encode())
    for values in (answers.starts, answers.shown_at, answers.ranks, answers.clicked, *answers.features.values()):
        found.update(values.tobytes())
    return found.hexdigest()


def unchanged(directory: str, origin: str) -> dict[str, Any] | None:
    """
    The newest report below *directory* if it was made from *origin* (`made_from`) and is whole; else None.

    Args:
        directory: ``<root>/weights``, or a URI of it.
        origin: As `made_from` gives it.
    """
    with suppress(OSError, pa.ArrowException, ValueError):
        filesystem, above = _place(directory)
        found = filesystem.get_file_info(arrow_fs.FileSelector(above, recursive=True, allow_not_found=True))
        there = {each.path for each in found if each.type == arrow_fs.FileType.File}
        reports = [path for path in there if path.endswith(f"/{REPORT_FILE}") and is_version(path.split("/")[-2])]
        for path in sorted(reports)[-1:]:
            with filesystem.open_input_stream(path) as stream:
                report: dict[str, Any] = json.loads(stream.read())
            whole = not report["kept"] or path.replace(REPORT_FILE, _SERVE_FILE) in there
            return report if whole and report.get("made_from") == origin else None
    return None


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
    where: str, version: str, report: WeightsReport, serve_file: Path, *, settings: dict[str, object], origin: str
) -> list[str]:
    """
    Write ``report.txt`` and, last, ``report.json`` below *where*; where that fails nothing of them stays.

    If the weights are kept also ``ranking.yaml``, the ``user_config`` of ranking, and ``serve.yaml``, the Serve file
    with it in place.

    Args:
        where: A directory, or a URI that ``pyarrow.fs`` understands.
        version: Its name.
        report: What was found.
        serve_file: Where the present weights stand.
        settings: What the job was told.
        origin: As `made_from` gives it.

    Returns:
        The names of the files.

    Raises:
        ArtifactStoreUnavailable: nothing can be written there.
    """
    document = {**as_document(version, report), "settings": settings, "made_from": origin}
    files = {"report.txt": "\n".join(lines(report)) + "\n"}
    if report.kept:
        files["ranking.yaml"] = as_yaml(user_config(report.fitted))
        files[_SERVE_FILE] = f"# Weights {version}: {report.why}\n" + serve_file_with(serve_file, report.fitted)
    files[REPORT_FILE] = json.dumps(document, indent=1) + "\n"
    try:
        filesystem, directory = _place(where)
        filesystem.create_dir(directory, recursive=True)
        try:
            for name, content in files.items():
                with filesystem.open_output_stream(f"{directory}/{name}") as stream:
                    stream.write(content.encode())
        except BaseException:
            for name in files:
                with suppress(OSError):
                    filesystem.delete_file(f"{directory}/{name}")
            raise
    except (OSError, pa.ArrowException) as error:
        raise ArtifactStoreUnavailable(
            f"The result cannot be written to {where}: {error}. Choose another --out"
        ) from error
    return list(files)


def conclude_unchanged(report: Mapping[str, Any], where: str, seconds: dict[str, float]) -> None:
    """Print the last line of a job whose result, *report* below *where*, would be the same again."""
    told = {name: report[name] for name in ("kind", "version", "kept", "why", "counts")}
    told |= {"weights": report["fitted"]["version"], "path": where, "seconds": seconds, "changed": False}
    print(json.dumps(told), flush=True)


def conclude_skipped(why: str, seconds: dict[str, float]) -> None:
    """Print the last line of a job that had nothing to learn from."""
    print(json.dumps({"kind": "weights", "skipped": why, "seconds": seconds, "changed": False}), flush=True)


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
        "changed": True,
    }
    print(json.dumps(told), flush=True)


def _place(where: str) -> tuple[arrow_fs.FileSystem, str]:
    uri = where if "://" in where else Path(where).expanduser().absolute().as_uri()
    filesystem, directory = arrow_fs.FileSystem.from_uri(uri)
    return filesystem, directory
