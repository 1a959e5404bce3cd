from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.stages import Stage
from deployments.request_figures import BOUNDS_S, RequestFigures, endpoint_of


def values(figures: RequestFigures, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.tags.values()): sample.value
        for sample in figures.samples()
        if sample.name == name and sample.value
    }


class TestRequestFigures:
    def test_answers_are_counted_by_endpoint_and_status(self) -> None:
        figures = RequestFigures()
        for status in (200, 200, 503):
            figures.answered("/v1/search", status, 0.01)
        figures.answered("/v1/products/a/b", 404, 0.01)
        assert values(figures, "shortlist_answers_total") == {
            ("search", "200"): 2,
            ("search", "503"): 1,
            ("products", "404"): 1,
        }

    def test_stages_are_counted_by_outcome_and_cause(self) -> None:
        figures = RequestFigures()
        for _ in range(2):
            figures.made("search", [Stage("keyword"), Stage("semantic", "skipped", cause="timeout")])
        assert values(figures, "shortlist_stage_total") == {
            ("keyword", "ok", "none"): 2,
            ("semantic", "skipped", "timeout"): 2,
        }

    def test_an_answer_is_degraded_once_however_many_stages_are(self) -> None:
        figures = RequestFigures()
        figures.made(
            "search", [Stage("keyword", "skipped", cause="timeout"), Stage("rank", "skipped", cause="timeout")]
        )
        figures.made("search", [Stage("profile", "skipped", cause="unknown_user")])
        assert values(figures, "shortlist_degraded_total") == {("search",): 1}

    def test_errors_and_refusals_are_there_as_nothing_before_the_first(self) -> None:
        """Prometheus takes a series that begins at 200 for one that has not grown."""
        begun = {
            (sample.tags["endpoint"], sample.tags["status"])
            for sample in RequestFigures().samples()
            if sample.name == "shortlist_answers_total" and sample.value == 0
        }
        named = ("search", "recommendations", "products", "events", "users", "health")
        assert begun == {(name, status) for name in named for status in ("200", "429", "500", "503", "504")}

    def test_what_alerts_compare_is_there_before_anything_happens(self) -> None:
        names = {(sample.name, sample.tags.get("endpoint")) for sample in RequestFigures().samples()}
        assert {("shortlist_answers_total", "search"), ("shortlist_degraded_total", "search")} <= names

    @given(st.lists(st.floats(min_value=0, max_value=20)))
    def test_each_bucket_counts_what_took_at_most_as_long(self, seconds: list[float]) -> None:
        figures = RequestFigures()
        for one in seconds:
            figures.answered("/v1/search", 200, one)
        buckets = {
            sample.tags["le"]: sample.value
            for sample in figures.samples()
            if sample.name == "shortlist_request_seconds_bucket"
        }
        expected = {str(bound): sum(one <= bound for one in seconds) for bound in BOUNDS_S} | {"+Inf": len(seconds)}
        assert buckets == (expected if seconds else {})


class TestEndpointOf:
    @pytest.mark.parametrize(
        ("path", "endpoint"),
        [
            ("/v1/search", "search"),
            ("/v1/products/a/b", "products"),
            ("/health", "health"),
            ("/health/ready", "health"),
            ("/healthy", "other"),
            ("/v1/nothing", "other"),
            ("/v1", "other"),
            ("/", "other"),
            ("", "other"),
        ],
    )
    def test_every_path_has_one(self, path: str, endpoint: str) -> None:
        assert endpoint_of(path) == endpoint
