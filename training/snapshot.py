"""
The snapshot job: products and events as they are at one moment, as parquet, with a report on their quality.

Run it as ``ray job submit ... -- python -m training.snapshot``; it needs no cluster. Nothing is read from the primary
where a read replica is named.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from artifacts.checksums import sha256_of
from artifacts.manifest import FileRecord, new_version
from artifacts.tree import STAGING_PREFIX, sweep
from storage.settings import StorageSettings
from training.arguments import add_root, plain_parser, positive, require_writable, run_job, share, whole
from training.config_file import parsed_flags
from training.data_quality import Alarm, Limits, Report, alarms_of, drift_since, reported
from training.identities import loaded, saved
from training.progress import Stopwatch, conclude, say
from training.quality_text import as_text
from training.snapshot_copy import Copy, copied
from training.snapshot_manifest import (
    IDENTITIES_FILE,
    REPORT_FILE,
    REPORT_TEXT_FILE,
    Partition,
    SnapshotManifest,
    content_digest,
)
from training.snapshot_store import SnapshotStore


def take(flags: argparse.Namespace) -> list[Alarm]:
    """Publish a snapshot if it differs from the last one; return what the report found beyond its limits."""
    require_writable(flags.root)
    store, watch, version = SnapshotStore(flags.root), Stopwatch(), new_version()
    settings = StorageSettings.from_environment()
    limits = Limits.model_validate({name: getattr(flags, name) for name in Limits.model_fields})
    last = store.latest()
    with _working_directory() as directory:
        copy = asyncio.run(copied(settings, directory, flags.partition, recent_days=flags.recent_days))
        watch.lap("copy")
        report = _report(store, last, version, copy, limits)
        watch.lap("report")
        print(as_text(report), flush=True)
        manifest = _manifest(version, copy, report, flags.partition, last)
        if last is not None and not flags.anew and last.digest == manifest.digest and store.is_sound(last):
            say(f"nothing changed since {last.version}, which stays the newest. --anew publishes anyway")
            alarms = list({each.text: each for each in [*_alarms_then(store, last), *report.alarms]}.values())
            conclude(last.model_copy(update={"alarms": [each.text for each in alarms]}), changed=False)
            return alarms
        watch.lap("checksums")
        manifest = manifest.model_copy(update={"seconds": watch.seconds}).sealed()
        store.publish(copy.directory, manifest)
    say(f"snapshot {version} is published: {sum(record.bytes for record in manifest.files.values()):,} bytes")
    for removed in store.prune(flags.keep):
        say(f"snapshot {removed} is removed")
    conclude(manifest)
    return report.alarms


def _report(store: SnapshotStore, last: SnapshotManifest | None, version: str, copy: Copy, limits: Limits) -> Report:
    """The report on *copy*, written beside it."""
    report = reported(
        copy.products,
        copy.events,
        limits,
        version=version,
        taken_at=copy.taken_at,
        newest_event_at=copy.newest_event_at,
    )
    identities = {"products": copy.products.ids.sorted(), "users": copy.events.users.sorted()}
    then = None if last is None else _report_of(store, last)
    if last is not None and then is not None:
        before = loaded(store.read(last, IDENTITIES_FILE) or saved())
        report = report.model_copy(update={"drift": drift_since(then, report, before, identities)})
    report = report.model_copy(update={"alarms": list(alarms_of(report, limits, then))})
    (copy.directory / IDENTITIES_FILE).write_bytes(saved(**identities))
    (copy.directory / REPORT_FILE).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (copy.directory / REPORT_TEXT_FILE).write_text(as_text(report), encoding="utf-8")
    return report


def _report_of(store: SnapshotStore, manifest: SnapshotManifest) -> Report | None:
    """The report of an earlier snapshot; None where this version of the code cannot read it."""
    try:
        return Report.model_validate_json(store.read(manifest, REPORT_FILE) or b"")
    except ValueError:
        say(f"the report of {manifest.version} cannot be read; nothing is compared with it")
        return None


def _alarms_then(store: SnapshotStore, manifest: SnapshotManifest) -> list[Alarm]:
    report = _report_of(store, manifest)
    return [] if report is None else report.alarms


def _manifest(
    version: str, copy: Copy, report: Report, partition: Partition, last: SnapshotManifest | None
) -> SnapshotManifest:
    files = {
        path.relative_to(copy.directory).as_posix(): FileRecord(sha256=sha256_of(path), bytes=path.stat().st_size)
        for path in sorted(copy.directory.rglob("*"))
        if path.is_file()
    }
    figures = {
        name: float(count) for name, count in (report.repeated | {"price_outliers": report.price_outliers}).items()
    }
    drift = {} if report.drift is None else report.drift.population_stability
    return SnapshotManifest(
        version=version,
        taken_at=copy.taken_at,
        heartbeat_at=copy.heartbeat_at,
        source=copy.source,
        partition=partition,
        window_end=copy.window_end,
        data_window=copy.data_window,
        counts=report.counts,
        metrics=figures | {f"drift_{name}": value for name, value in drift.items()},
        digest=content_digest(files, copy.window_end),
        alarms=[alarm.text for alarm in report.alarms],
        parent=None if last is None else last.version,
        files=files,
    )


@contextmanager
def _working_directory() -> Iterator[Path]:
    """A directory for a copy before it is published; what a killed job left is swept after a day."""
    above = Path(tempfile.gettempdir()) / f"shortlist-snapshots-{os.getuid()}"
    above.mkdir(exist_ok=True)
    sweep(above)
    with tempfile.TemporaryDirectory(prefix=STAGING_PREFIX, dir=above) as directory:
        yield Path(directory)


def main() -> None:
    """Read the flags and run the job."""
    limits = Limits()
    parser = plain_parser("training.snapshot", "Copy products and events of one moment to parquet, and look at them.")
    add_root(parser)
    parser.add_argument("--partition", choices=get_args(Partition), default="month", help="time in a file of events")
    parser.add_argument("--keep", type=whole, default=7, help="snapshots that stay; none goes within 24 hours")
    parser.add_argument("--anew", action="store_true", help="publish a snapshot though nothing changed")
    parser.add_argument("--strict", action="store_true", help="end with exit code 1 when the report has an alarm")
    parser.add_argument("--recent-days", type=whole, default=7, help="days whose event types are compared")
    parser.add_argument("--spike-z", type=positive, default=limits.spike_z, help="robust z-score of a day's events")
    parser.add_argument("--spike-days", type=whole, default=limits.spike_days, help="days in which a spike is an alarm")
    parser.add_argument("--price-z", type=positive, default=limits.price_z, help="robust z-score of an outlying price")
    parser.add_argument("--drift", type=positive, default=limits.drift, help="population stability index")
    for name, what in (
        ("price_outliers", "products with an outlying price"),
        ("missing_rise", "rows of a column that lack a value, above the last snapshot's"),
        ("repeated_events", "events with another's id"),
        ("repeated_titles", "products with another's title"),
        ("unknown_products", "events of products that are not there"),
        ("gone", "the last snapshot's products, or users, that are gone"),
    ):
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=share, default=getattr(limits, name), help=f"most share of {what}")
    flags = parsed_flags(parser)

    def job() -> None:
        if take(flags) and flags.strict:
            sys.exit("The report has an alarm, and --strict was given. The snapshot is published nevertheless.")

    run_job(job)


if __name__ == "__main__":
    main()
