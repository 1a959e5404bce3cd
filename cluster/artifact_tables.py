"""What `shortlist artifacts` shows, from the documents that it writes as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from artifacts.activations import Activation
from artifacts.manifest import ArtifactKind, Manifest
from cluster.artifact_inventory import Document, judged_metrics, size_of

HISTORY_SHOWN = 10
_GROUPS = {"made": "", "metrics": "metric", "counts": "count", "parameters": "parameter", "files": "file"}


def versions_table(kind: ArtifactKind, document: Document) -> Table:
    """One row a version, the active one marked, and the one that a rollback goes to."""
    table = Table(title=kind, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("", "version", "published", "size", "figures", "parent", "served by"):
        whole = name == "version"  # to be copied into the next command
        table.add_column(name, justify="right" if name == "size" else "left", overflow="fold", no_wrap=whole)
    for row in document["versions"]:
        mark = "*" if row["active"] else "~" if row["version"] == document["on_trial"] else ""
        mark = mark or ("<" if row["version"] == document["before"] else "")
        figures = row["problem"] or figures_text(judged_metrics(kind, row["metrics"]), separator="\n")
        published = "" if row["created_at"] is None else moment(datetime.fromisoformat(row["created_at"]))[:-3]
        size = "" if row["bytes"] is None else size_text(row["bytes"])
        served_by = "\n".join(row["served_by"])
        table.add_row(mark, row["version"], published, size, Text(figures), row["parent"] or "", served_by)
    return table


def manifest_lines(manifest: Manifest) -> list[tuple[str, str]]:
    """What a manifest says, by name."""
    window = manifest.data_window
    known = {
        "published": moment(manifest.created_at),
        "parent": manifest.parent,
        "encoder": manifest.encoder,
        "dimension": manifest.dim,
        "data window": None if window is None else f"{moment(window.start)} to {moment(window.end)}",
        "counts": figures_text(manifest.counts),
        "metrics": figures_text(manifest.metrics),
        "seconds": figures_text(manifest.seconds),
        "size": size_text(size_of(manifest)),
    }
    lines = [(name, str(value)) for name, value in known.items() if value not in (None, "")]
    lines += [(f"parameter {name}", str(value)) for name, value in manifest.parameters.items()]
    return lines + [
        (f"file {name}", f"{size_text(each.bytes)}  {each.sha256}") for name, each in manifest.files.items()
    ]


def history_lines(history: list[Activation]) -> list[str]:
    """The latest activations, the last one first."""
    lines = []
    for each in reversed(history[-HISTORY_SHOWN:]):
        verb = "rolled back to" if each.action == "rollback" else "activated"
        instead = f", instead of {each.replaced}" if each.replaced else ""
        forced = f" (forced: {'; '.join(each.overruled)})" if each.overruled else ""
        lines.append(f"{moment(each.activated_at)}  {verb} {each.version}{instead}{forced}")
    return lines


def trial_lines(kind: str, document: Document) -> list[str]:
    """What is tried on whom, since when, and how it ended."""
    trial, ending = document["trial"], document["ending"]
    whom = "of users" if trial["mode"] == "canary" else "of requests"
    since = moment(datetime.fromisoformat(trial["begun_at"]))
    lines = [f"{kind} {trial['version']}: {trial['mode']}, {trial['share']:.4g} {whom}, since {since}"]
    if ending is not None:
        ended_at = moment(datetime.fromisoformat(ending["ended_at"]))
        lines.append(f"ended {ended_at}: {ending['reason']}")
    elif not document["in_force"]:
        lines.append("not in force")
    if not document["replicas"]:
        lines.append("no replica has reported anything of it yet")
    return lines


def trial_table(document: Document) -> Table:
    """What the active version and the one on trial did; of a shadow, how their lists differ."""
    figures = document["figures"]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "active", "on trial"):
        table.add_column(name, justify="right" if name else "left")
    for key in ("requests", "errors"):
        table.add_row(key, _value(figures["active"][key]), _value(figures["trial"][key]))
    for key, name in (("p50_ms", "p50 ms"), ("p95_ms", "p95 ms")):
        table.add_row(name, *(f"{ms:.1f}" if (ms := figures[arm][key]) else "-" for arm in ("active", "trial")))
    if document["trial"]["mode"] == "shadow":
        for key, name in (
            ("compared", "compared"),
            ("dropped", "dropped"),
            ("overlap_at_10", "overlap at 10"),
            ("rank_correlation", "rank correlation"),
            ("score_shift", "score shift"),
        ):
            table.add_row(name, "", _value(figures[key]))
    return table


def difference_table(document: Document) -> Table:
    """One row a difference."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", document["from"], document["to"], "change"):
        table.add_column(name, overflow="fold")
    for group, prefix in _GROUPS.items():
        for name, (one, other) in document[group].items():
            table.add_row(f"{prefix} {name}".strip(), _value(one), _value(other), _change(one, other))
    return table


def figures_text(figures: Mapping[str, float], separator: str = ", ") -> str:
    """Names with their numbers: ``ndcg_at_10 0.1956, users 943``."""
    return separator.join(f"{name} {_value(value)}" for name, value in figures.items())


def size_text(count: int) -> str:
    """A number of bytes in decimal units."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if size < 1000:  # noqa: PLR2004  the next unit begins
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def moment(at: datetime) -> str:
    """A time to the second, UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _value(value: Any) -> str:  # noqa: ANN401  a parameter may be anything
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _change(one: Any, other: Any) -> str:  # noqa: ANN401  same
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if not numbers:
        return ""
    return f"{other - one:+.4g}" + (f" ({(other - one) / abs(one):+.1%})" if one else "")
