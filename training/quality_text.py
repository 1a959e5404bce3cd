"""The report on a snapshot as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from training.data_quality import Drift, Report

_MOST_NAMES = 12


def as_text(report: Report) -> str:
    """The report for a reader, alarms first."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"snapshot {report.version}, as of {report.taken_at:%Y-%m-%d %H:%M:%S %Z}"
    yield ""
    if report.alarms:
        yield f"{len(report.alarms)} ALARMS"
        yield from _table((each.name, each.text, f"limit {each.limit:g}") for each in report.alarms)
    else:
        yield "no alarm"
    yield ""
    yield from _table((name, f"{count:,}") for name, count in report.counts.items())
    yield from _table((f"events of type {name}", f"{count:,}") for name, count in report.event_types.items())
    if report.newest_event_at is not None:
        yield f"  newest event  {report.newest_event_at:%Y-%m-%d %H:%M:%S %Z}"
    yield ""
    yield "missing values"
    missing = [(name, count, count / max(report.rows_of(name), 1)) for name, count in report.missing.items() if count]
    yield from _table((name, f"{count:,}", f"{share:.1%}") for name, count, share in missing) if missing else ["  none"]
    yield ""
    yield "repeated and unknown"
    yield from _table(
        [
            ("event ids that come again", f"{report.repeated['event_ids']:,}"),
            ("titles that come again", f"{report.repeated['titles']:,}"),
            ("events of unknown products", f"{report.unknown['events']:,}"),
            ("unknown products", f"{report.unknown['products']:,}"),
        ]
    )
    yield ""
    yield f"days with unusually many or few events: {len(report.spikes)}"
    yield from _table((f"{each.day}", f"{each.events:,}", f"z {each.z:+.1f}") for each in report.spikes[-_MOST_NAMES:])
    yield f"prices far from those of their category: {report.price_outliers:,}"
    yield from _table(
        (f"{each['product_id']}", f"{each['price']}", f"{each['category']}", f"z {each['z']}")
        for each in report.price_examples
    )
    yield ""
    yield from _drift(report.drift)


def _drift(drift: Drift | None) -> Iterator[str]:
    if drift is None:
        yield "no earlier snapshot to compare with"
        return
    yield f"since {drift.since}"
    yield from _table(
        (name, f"population stability index {index:.4f}", f"Jensen-Shannon {drift.jensen_shannon[name]:.4f} bits")
        for name, index in drift.population_stability.items()
    )
    yield from _table(
        (name, f"{drift.new[name]:,} new", f"{count:,} gone ({drift.gone_share[name]:.1%})")
        for name, count in drift.gone.items()
    )


def _table(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Rows in columns of equal width."""
    cells = list(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
