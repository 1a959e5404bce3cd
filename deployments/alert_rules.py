"""When a process raises which alert: names and limits are those of ``cluster/monitoring/alerts.yaml``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from deployments.alerts import Figures, Finding, Rule

LAG_LIMIT_MS = 60_000.0
BREAKER_OPEN = 2
RESTARTS = 3
FAILED_CHECKS = 3
SHED_SHARE = 0.01
ERROR_SHARE = 0.01
LEAST_ANSWERS = 100
RUNBOOK = "See docs/failure-modes.md#{}."


def _unhealthy(figures: Figures) -> Iterator[Finding]:
    for tags, count in figures.now("shortlist_replica_restarts"):
        if count >= RESTARTS:
            yield Finding(tags["part"], f"{count:.0f} replicas of {tags['part']} were replaced within ten minutes.")
    for _, count in figures.now("shortlist_health_check_failures"):
        if count >= FAILED_CHECKS:
            yield Finding("this", f"{count:.0f} health checks of this replica failed in a row; Serve replaces it.")


def _lag(figures: Figures) -> Iterator[Finding]:
    for tags, lag_ms in figures.now("shortlist_replica_lag_ms"):
        if lag_ms > LAG_LIMIT_MS:
            yield Finding(tags["endpoint"], f"{tags['endpoint']} is {lag_ms / 1000:.0f} s behind the primary.")


def _database_down(figures: Figures) -> Iterator[Finding]:
    for tags, healthy in figures.now("shortlist_database_healthy"):
        if not healthy:
            yield Finding(tags["endpoint"], f"The database {tags['endpoint']} does not answer.")


def _breaker_open(figures: Figures) -> Iterator[Finding]:
    for tags, state in figures.now("shortlist_breaker_state"):
        if state == BREAKER_OPEN:
            yield Finding(tags["dependency"], f"The breaker of {tags['dependency']} is open: it is not asked.")


def _artifact_missing(figures: Figures) -> Iterator[Finding]:
    for tags, loaded in figures.now("shortlist_artifact_loaded"):
        if not loaded:
            yield Finding(tags["kind"], f"No version of {tags['kind']} is loaded. {_job(tags['kind'])}")


def _artifact_refused(figures: Figures) -> Iterator[Finding]:
    for tags, refused in figures.now("shortlist_artifact_refused"):
        if refused:
            yield Finding(tags["kind"], f"The active version of {tags['kind']} is refused. {_job(tags['kind'])}")


def _trial_failed(figures: Figures) -> Iterator[Finding]:
    for tags, count in figures.grown("shortlist_trials_failed_total"):
        if count > 0:
            text = f"A version of {tags['kind']} failed its trial, which is ended; the active version answers everyone."
            yield Finding(tags["kind"], f"{text} Why: shortlist artifacts trial {tags['kind']}.")


def _pool_exhausted(figures: Figures) -> Iterator[Finding]:
    for tags, timeouts in figures.grown("shortlist_pool_timeouts_total"):
        if timeouts > 0:
            text = f"{timeouts:.0f} callers got no connection to {tags['endpoint']} within five minutes."
            yield Finding(tags["endpoint"], text)


def _shedding(figures: Figures) -> Iterator[Finding]:
    answers, shed = _answers(figures), sum(count for _, count in figures.grown("shortlist_shed_total"))
    if answers["all"] >= LEAST_ANSWERS and shed > SHED_SHARE * answers["all"]:
        text = f"{shed:.0f} of {answers['all']:.0f} requests were refused with 429 within five minutes."
        yield Finding("requests", text)


def _errors(figures: Figures) -> Iterator[Finding]:
    answers = _answers(figures)
    if answers["all"] >= LEAST_ANSWERS and answers["5xx"] > ERROR_SHARE * answers["all"]:
        text = f"{answers['5xx']:.0f} of {answers['all']:.0f} answers within five minutes were errors of ours (5xx)."
        yield Finding("answers", text)


def _answers(figures: Figures) -> Counter[str]:
    counts: Counter[str] = Counter()
    for tags, count in figures.grown("shortlist_answers_total"):
        counts["all"] += round(count)
        if tags["status"].startswith("5"):
            counts["5xx"] += round(count)
    return counts


def _job(kind: str) -> str:
    """The command that makes another version."""
    return f"Rebuild it: ray job submit --address http://TRAINING-CLUSTER:8265 -- python -m training.{kind}."


RULES = (
    Rule("ShortlistReplicaUnhealthy", _unhealthy, RUNBOOK.format("replica-unhealthy")),
    Rule("ShortlistReplicaLag", _lag, "It is not read from until it has caught up. " + RUNBOOK.format("replica-lag")),
    Rule("ShortlistDatabaseDown", _database_down, RUNBOOK.format("database-down"), held_s=10.0),
    Rule("ShortlistBreakerOpen", _breaker_open, "Answers do without it. " + RUNBOOK.format("breaker-open")),
    Rule("ShortlistArtifactMissing", _artifact_missing, RUNBOOK.format("artifact"), held_s=300.0),
    Rule("ShortlistArtifactRefused", _artifact_refused, "Or roll back. " + RUNBOOK.format("artifact")),
    Rule("ShortlistTrialFailed", _trial_failed, RUNBOOK.format("trial")),
    Rule("ShortlistPoolExhausted", _pool_exhausted, RUNBOOK.format("pool-exhausted")),
    Rule("ShortlistShedding", _shedding, "Add replicas. " + RUNBOOK.format("overload"), held_s=60.0),
    Rule("ShortlistErrors", _errors, RUNBOOK.format("errors")),
)
