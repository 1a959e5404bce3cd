from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bench.chaos.fault import Fault, Visible
from bench.chaos.measurement import Measurement, Moments, measured
from bench.chaos.record import Record
from bench.chaos.subject import Subject

STRUCK_S = 100.0
MOMENTS = Moments(struck_s=STRUCK_S, healed_s=110.0, recovered_s=112.0, restored_s=113.0, ended_s=114.0)
RANK_DOWN = (("rank", "unavailable"),)


@contextlib.contextmanager
def nothing(_subject: Subject) -> Iterator[None]:
    yield


def fault(visible: Visible) -> Fault:
    return Fault("ranking", "it is killed", nothing, visible, "kill")


def search(began_s: float, *, took_s: float = 0.1, status: int | None = 200, **others: object) -> Record:
    record = Record("search", began_s, began_s + took_s, status)
    return replace(record, **others)  # type: ignore[arg-type]


def seen(records: list[Record], visible: Visible, kept: dict[str, int] | None = None) -> Measurement:
    return measured(fault(visible), records, MOMENTS, kept=kept or {})


class TestMeasured:
    def test_healthy_answers_break_nothing(self) -> None:
        found = seen([search(99.0), search(101.0), search(105.0)], Visible())
        assert (found.reads, found.violations) == (2, ())
        assert (found.recovered_s, found.restored_s) == (2.0, 3.0)

    def test_a_read_that_had_begun_when_the_fault_struck_may_fail_where_that_is_allowed(self) -> None:
        records = [search(99.9, took_s=0.5, status=502), search(101.0)]
        assert seen(records, Visible(errors="in flight")).violations == ()
        assert seen(records, Visible()).violations == ("1 reads in flight failed",)

    def test_a_read_that_fails_after_recovery_while_processes_come_back_counts_too(self) -> None:
        assert len(seen([search(101.0), search(112.5, status=503)], Visible()).violations) == 1

    @pytest.mark.parametrize("end", [{"status": 503}, {"status": None, "broken": "refused"}])
    def test_a_read_that_began_afterwards_may_not(self, end: dict[str, object]) -> None:
        record = replace(search(101.0), **end)  # type: ignore[arg-type]
        assert len(seen([record, search(102.0)], Visible(errors="in flight")).violations) == 1

    def test_reads_that_are_shed_though_there_are_no_more_of_them_break_it(self) -> None:
        found = seen([search(101.0), search(102.0, status=429)], Visible())
        assert found.violations == ("1 reads were shed though there were no more of them",)

    def test_where_nobody_is_left_to_answer_the_time_until_somebody_does_counts(self) -> None:
        refused = search(101.0, status=None, broken="refused")
        records = [search(99.0), refused, search(103.4)]
        allowed = Visible(errors="until it is back", outage_s=10.0)
        assert seen(records, allowed).violations == ()
        assert seen(records, allowed).gap_s == 3.5
        assert seen(records, replace(allowed, outage_s=2.0)).violations == ("no answer for 3.5 s, at most 2 s allowed",)

    def test_once_something_answers_again_no_read_and_no_write_may_fail(self) -> None:
        back = [search(99.0), search(100.3, status=503), search(103.0)]
        again = [search(103.2 + number / 100, status=503) for number in range(200)]
        post = Record("events", 104.0, 104.1, 503, code="unavailable")
        allowed = Visible(errors="until it is back", outage_s=10.0)
        assert seen([*back, search(103.05, status=503), search(106.0)], allowed).violations == ()
        assert seen([*back, *again, post, search(106.0)], allowed).violations == (
            "200 reads failed that began afterwards: 503 None x200",
            "1 writes failed: 503 unavailable x1",
        )

    def test_a_fault_that_must_be_named_has_to_be(self) -> None:
        visible = Visible(says=frozenset(RANK_DOWN))
        assert len(seen([search(101.0)], visible).violations) == 1
        found = seen([search(101.0), search(102.0, degraded=True, pairs=RANK_DOWN)], visible)
        assert (found.violations, found.noticed_s, found.degraded_share) == ((), 2.1, 0.5)

    def test_a_cause_that_nobody_foresaw_breaks_the_contract(self) -> None:
        found = seen([search(101.0, degraded=True, pairs=RANK_DOWN)], Visible())
        assert found.violations == ("unforeseen: rank=unavailable x1",)

    def test_an_acknowledged_event_that_is_gone_or_there_twice_is_counted(self) -> None:
        post = Record("events", 101.0, 101.1, 202, acknowledged=("a", "b", "c"))
        found = seen([post], Visible(), kept={"a": 1, "b": 2})
        assert (found.acknowledged, found.lost, found.twice) == (3, 1, 1)
        assert found.violations == ("of acknowledged events 1 are lost, 1 there twice",)

    def test_a_write_that_fails_breaks_the_contract_unless_it_may(self) -> None:
        post = Record("events", 101.0, 101.1, 503, code="unavailable")
        assert seen([post], Visible(writes="may fail")).violations == ()
        assert seen([post], Visible()).violations == ("1 writes failed: 503 unavailable x1",)

    def test_an_answer_that_is_not_well_formed_breaks_it(self) -> None:
        assert seen([search(101.0, faults=("a product twice",))], Visible()).violations == ("a product twice (x1)",)
