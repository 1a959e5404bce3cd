"""What a replica saw of trials, as samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from deployments.artifact_samples import failed_sample
from deployments.metrics import Sample
from deployments.version_trial import VersionTrial


def trial_samples(tried: VersionTrial[Any, Any]) -> Callable[[], Iterator[Sample]]:
    """Return what yields the figures of *tried*."""

    def samples() -> Iterator[Sample]:
        kind, seen = {"kind": tried.kind}, tried.totals
        running = tried.status()
        for mode in ("shadow", "canary"):
            in_force = running is not None and running["mode"] == mode
            text = "Whether this replica takes part in a trial: 1 or 0."
            yield Sample("shortlist_trial_running", text, float(in_force), tags={**kind, "mode": mode})
        yield failed_sample(tried.kind, tried.failed)
        for arm, figures in (("active", seen.active), ("trial", seen.trial)):
            tags = {**kind, "arm": arm}
            yield Sample("shortlist_trial_requests_total", "Requests by version.", figures.requests, "total", tags)
            yield Sample("shortlist_trial_errors_total", "Requests that failed.", figures.errors, "total", tags)
        yield Sample("shortlist_shadow_compared_total", "Requests compared.", seen.compared, "total", kind)
        yield Sample("shortlist_shadow_dropped_total", "Requests not compared.", seen.dropped, "total", kind)
        text = "Sum of the overlaps of the top ten."
        yield Sample("shortlist_shadow_overlap_total", text, seen.overlap, "total", kind)
        for name, text, value in (
            ("correlation", "Mean rank correlation.", seen.report()["rank_correlation"]),
            ("score_shift", "Mean shift of the top ten's mean score.", seen.report()["score_shift"]),
        ):
            if value is not None:
                yield Sample(f"shortlist_shadow_{name}", text, value, tags=kind)

    return samples
