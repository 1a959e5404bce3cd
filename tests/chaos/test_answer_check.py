from __future__ import annotations

import json
from typing import Any

import pytest

from bench.chaos.answer_check import events_verdict, read_verdict

JSON = {"Content-Type": "application/json"}
PROBLEM = {"Content-Type": "application/problem+json", "Retry-After": "1"}


def hit(product_id: str, rank: int, score: float) -> dict[str, Any]:
    return {"id": product_id, "rank": rank, "score": score, "product": None, "reason": {"code": "popular"}}


def stage(name: str, cause: str | None = None, fallback: str | None = None) -> dict[str, Any]:
    status = "ok" if cause is None else "fallback" if fallback else "skipped"
    return {"name": name, "status": status, "source": None, "fallback": fallback, "cause": cause, "ms": 1.0}


def answer(**changes: Any) -> bytes:  # noqa: ANN401 - whatever is to be wrong
    versions = dict.fromkeys(("index", "changes", "vocabulary", "popularity", "cf", "weights", "config"))
    freshness = dict.fromkeys(("read_from", "replica_lag_ms", "index_age_s", "consistent"))
    whole = {
        "request_id": "r",
        "took_ms": 1.0,
        "hits": [hit("b", 1, 0.9), hit("a", 2, 0.5), hit("c", 3, 0.5)],
        "total": {"value": 3, "relation": "eq"},
        "next_cursor": None,
        "degraded": False,
        "stages": [stage("keyword"), stage("semantic", "no_match")],
        "versions": versions,
        "freshness": freshness,
    }
    return json.dumps({**whole, **changes}).encode()


def problem(status: int, **changes: Any) -> bytes:  # noqa: ANN401 - whatever is to be wrong
    whole = {
        "type": "about:blank",
        "title": "unavailable",
        "status": status,
        "detail": "It cannot.",
        "code": "unavailable",
        "request_id": "r",
        "retryable": True,
        "errors": [],
    }
    return json.dumps({**whole, **changes}).encode()


class TestReadVerdict:
    def test_a_healthy_answer_has_no_faults(self) -> None:
        verdict = read_verdict(200, JSON, answer())
        assert (verdict.faults, verdict.degraded, verdict.pairs) == ((), False, ())

    def test_a_degraded_answer_names_what_stands_in_for_what(self) -> None:
        body = answer(degraded=True, stages=[stage("rank", "timeout", "popularity"), stage("semantic", "circuit_open")])
        headers = {**JSON, "X-Degraded": "rank=timeout, semantic=circuit_open"}
        verdict = read_verdict(200, headers, body)
        assert verdict.faults == ()
        assert verdict.pairs == (("rank", "timeout"), ("semantic", "circuit_open"))

    @pytest.mark.parametrize(
        ("consistent", "sees_write", "right"),
        [(None, False, True), (None, True, False), (True, True, True), (False, True, False), (True, False, False)],
    )
    def test_it_says_whether_it_saw_the_write_of_a_token(
        self, *, consistent: bool | None, sees_write: bool, right: bool
    ) -> None:
        freshness = {"read_from": None, "replica_lag_ms": None, "index_age_s": None, "consistent": consistent}
        verdict = read_verdict(200, JSON, answer(freshness=freshness), sees_write=sees_write)
        assert (verdict.faults == ()) == right

    @pytest.mark.parametrize(
        "changes",
        [
            {"hits": [hit("a", 1, 0.5), hit("b", 2, 0.9)]},
            {"hits": [hit("b", 1, 0.5), hit("a", 2, 0.5)]},
            {"hits": [hit("a", 1, 0.5), hit("a", 2, 0.5)]},
            {"hits": [hit("a", 0, 0.5)]},
            {"total": {"value": 1, "relation": "eq"}},
            {"degraded": True},
            {"stages": [stage("rank", "timeout", "popularity")]},
            {"stages": [stage("rank"), stage("rank")]},
            {"stages": [stage("unheard")]},
            {"surplus": 1},
        ],
        ids=lambda changes: json.dumps(changes)[:40],
    )
    def test_what_breaks_the_contract_is_found(self, changes: dict[str, Any]) -> None:
        assert read_verdict(200, JSON, answer(**changes)).faults

    def test_a_header_that_says_less_than_the_body_is_found(self) -> None:
        body = answer(degraded=True, stages=[stage("rank", "timeout", "popularity")])
        assert read_verdict(200, JSON, body).faults

    def test_a_problem_is_well_formed(self) -> None:
        verdict = read_verdict(503, PROBLEM, problem(503))
        assert (verdict.faults, verdict.code) == ((), "unavailable")

    @pytest.mark.parametrize(
        ("status", "headers", "body"),
        [
            (500, PROBLEM, problem(500, retryable=False)),
            (503, PROBLEM, problem(504)),
            (503, {"Content-Type": "application/problem+json"}, problem(503)),
            (504, PROBLEM, problem(504, retryable=False)),
            (429, {"Content-Type": "text/plain"}, b"busy"),
            (200, {"Content-Type": "text/html"}, b"<html>"),
            (502, {"Content-Type": "text/html"}, b"<html>"),
        ],
    )
    def test_a_problem_that_is_none_is_found(self, status: int, headers: dict[str, str], body: bytes) -> None:
        assert read_verdict(status, headers, body).faults


class TestEventsVerdict:
    def test_an_acknowledgement_of_fewer_events_than_were_sent_is_found(self) -> None:
        body = {"request_id": "r", "accepted": 1, "duplicates": 0, "rejected": 0, "errors": []}
        assert events_verdict(202, JSON, json.dumps(body).encode(), sent=1).faults == ()
        assert events_verdict(202, JSON, json.dumps(body).encode(), sent=2).faults
