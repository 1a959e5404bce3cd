from __future__ import annotations

import logging

import pytest

from deployments.alert_rules import RULES
from deployments.alerts import CALM_S, WINDOW_S, Alerts
from deployments.metrics import Sample


class Clock:
    """Time as the test says it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def alerts(clock: Clock) -> Alerts:
    return Alerts(RULES, clock=clock)


def gauge(name: str, value: float, **tags: str) -> Sample:
    return Sample(name, "", value, tags=tags)


def total(name: str, value: float, **tags: str) -> Sample:
    return Sample(name, "", value, "total", tags)


def lag(value: float) -> Sample:
    return gauge("shortlist_replica_lag_ms", value, endpoint="replica-1")


def names(alerts: Alerts) -> list[str]:
    return [one["alert"] for one in alerts.firing()]


class TestAlerts:
    def test_one_line_when_it_fires_and_one_when_it_is_over(
        self, alerts: Alerts, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        for value in (70_000, 80_000, 90_000, 5, 5):
            alerts.look([lag(value)])
            clock.now_s += CALM_S
        lines = [record.getMessage() for record in caplog.records if record.name == "shortlist.alerts"]
        assert [line.split(":")[0] for line in lines] == [
            "ALERT ShortlistReplicaLag firing",
            "ALERT ShortlistReplicaLag resolved",
        ]
        assert "replica-1 is 70 s behind the primary" in lines[0]
        assert "docs/failure-modes.md#replica-lag" in lines[0]
        assert "after 120 s" in lines[1]
        assert alerts.firing() == []

    def test_what_comes_and_goes_is_one_alert(
        self, alerts: Alerts, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        for number in range(100):
            alerts.look([lag(70_000 if number % 2 else 5)])
            clock.now_s += 5
        assert [record.levelno for record in caplog.records] == [logging.WARNING]

    def test_each_subject_is_an_alert_of_its_own(self, alerts: Alerts) -> None:
        alerts.look([gauge("shortlist_breaker_state", 2, dependency=name) for name in ("redis", "semantic")])
        assert names(alerts) == ["ShortlistBreakerOpen"] * 2

    def test_what_must_last_does_not_fire_at_once(self, alerts: Alerts, clock: Clock) -> None:
        down = [gauge("shortlist_database_healthy", 0, endpoint="primary")]
        alerts.look(down)
        assert alerts.firing() == []
        clock.now_s += 10
        alerts.look(down)
        assert names(alerts) == ["ShortlistDatabaseDown"]

    def test_what_did_not_last_begins_anew(self, alerts: Alerts, clock: Clock) -> None:
        for healthy in (0, 1, 0):
            alerts.look([gauge("shortlist_database_healthy", healthy, endpoint="primary")])
            clock.now_s += 9
        assert alerts.firing() == []

    def test_a_total_counts_by_its_growth_within_the_window(self, alerts: Alerts, clock: Clock) -> None:
        for _ in range(3):
            alerts.look([total("shortlist_pool_timeouts_total", 7, endpoint="primary")])
            clock.now_s += WINDOW_S
        assert alerts.firing() == []
        alerts.look([total("shortlist_pool_timeouts_total", 9, endpoint="primary")])
        assert [one["text"].split(" ", 1)[0] for one in alerts.firing()] == ["2"]

    def test_a_young_process_counts_from_its_beginning(self, alerts: Alerts) -> None:
        alerts.look([total("shortlist_pool_timeouts_total", 1, endpoint="primary")])
        assert names(alerts) == ["ShortlistPoolExhausted"]


def answers(good: int, bad: int) -> list[Sample]:
    return [
        total("shortlist_answers_total", good, endpoint="search", status="200"),
        total("shortlist_answers_total", bad, endpoint="search", status="503"),
    ]


class TestRules:
    @pytest.mark.parametrize(
        ("samples", "expected"),
        [
            ([lag(60_000)], []),
            ([lag(60_001)], ["ShortlistReplicaLag"]),
            ([gauge("shortlist_breaker_state", 1, dependency="redis")], []),
            ([gauge("shortlist_breaker_state", 2, dependency="redis")], ["ShortlistBreakerOpen"]),
            ([gauge("shortlist_replica_restarts", 2, part="ranking")], []),
            ([gauge("shortlist_replica_restarts", 3, part="ranking")], ["ShortlistReplicaUnhealthy"]),
            ([gauge("shortlist_health_check_failures", 2)], []),
            ([gauge("shortlist_health_check_failures", 3)], ["ShortlistReplicaUnhealthy"]),
            ([gauge("shortlist_artifact_refused", 0, kind="embeddings")], []),
            ([gauge("shortlist_artifact_refused", 1, kind="embeddings")], ["ShortlistArtifactRefused"]),
            ([total("shortlist_trials_failed_total", 0, kind="embeddings")], []),
            ([total("shortlist_trials_failed_total", 1, kind="embeddings")], ["ShortlistTrialFailed"]),
            (answers(1000, 10), []),
            (answers(1000, 11), ["ShortlistErrors"]),
            (answers(90, 9), []),
            ([*answers(1000, 0), total("shortlist_shed_total", 10, reason="in_flight")], []),
            ([gauge("shortlist_artifact_loaded", 1, kind="embeddings")], []),
        ],
    )
    def test_limits(self, alerts: Alerts, samples: list[Sample], expected: list[str]) -> None:
        alerts.look(samples)
        assert names(alerts) == expected

    def test_refusals_must_last(self, alerts: Alerts, clock: Clock) -> None:
        for _ in range(2):
            alerts.look([*answers(1000, 0), total("shortlist_shed_total", 11, reason="in_flight")])
            clock.now_s += 60
        assert names(alerts) == ["ShortlistShedding"]

    def test_an_artifact_that_is_missing_names_the_job(self, alerts: Alerts, clock: Clock) -> None:
        for _ in range(2):
            alerts.look([gauge("shortlist_artifact_loaded", 0, kind="embeddings")])
            clock.now_s += 300
        assert [one["alert"] for one in alerts.firing()] == ["ShortlistArtifactMissing"]
        assert "-- python -m training.embeddings" in alerts.firing()[0]["text"]
