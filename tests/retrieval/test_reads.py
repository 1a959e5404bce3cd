from __future__ import annotations

import pytest

from contracts.stages import Cause, Stage
from retrieval.reads import one_database, read_freshness, read_stage
from storage.database import ReadSource

FRESH = ReadSource("replica-1", 3.4, None)
STALE = ReadSource("replica-2", 900.0, None)


class TestReadStage:
    def test_a_read_from_a_replica_names_it(self) -> None:
        assert read_stage(Stage("hydrate"), [FRESH, STALE]) == Stage("hydrate", source="replica-1,replica-2")

    @pytest.mark.parametrize("cause", ["replica_lag", "unavailable"])
    def test_a_read_that_left_its_replica_says_why_and_changes_no_hit(self, cause: Cause) -> None:
        diverted = ReadSource("primary", None, "replica_lag" if cause == "replica_lag" else "unavailable")
        stage = read_stage(Stage("hydrate"), [FRESH, diverted])
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "primary", cause)
        assert stage.degraded
        assert not stage.may_change_hits

    def test_a_stale_read_says_so_and_may_change_hits(self) -> None:
        diverted = ReadSource("primary", None, "replica_lag")
        stage = read_stage(Stage("hydrate"), [diverted, ReadSource("replica-1", 90_000.0, None, stale=True)])
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "stale replica", "replica_lag")
        assert stage.may_change_hits


class TestReadFreshness:
    def test_the_replica_that_lags_most_speaks_for_all(self) -> None:
        freshness = read_freshness([FRESH, STALE], index_age_s=5)
        assert (freshness.read_from, freshness.replica_lag_ms, freshness.index_age_s) == ("replica-2", 900, 5)

    def test_a_diverted_read_speaks_first(self) -> None:
        diverted = ReadSource("primary", None, "unavailable")
        assert read_freshness([STALE, diverted], index_age_s=None).read_from == "primary"

    def test_a_stale_read_speaks_before_a_diverted_one(self) -> None:
        stale = ReadSource("replica-1", 90_000.0, None, stale=True)
        freshness = read_freshness([stale, ReadSource("primary", None, "replica_lag")], index_age_s=None)
        assert (freshness.read_from, freshness.replica_lag_ms) == ("replica-1", 90_000)

    def test_no_read_says_nothing(self) -> None:
        assert read_freshness([], index_age_s=None).read_from is None


class TestOneDatabase:
    def test_reads_of_one_replica_follow_one_another(self) -> None:
        assert one_database([ReadSource("replica-1", 3.0, None), ReadSource("replica-1", 9.0, None)])

    def test_a_replica_and_the_primary_may_see_different_states(self) -> None:
        assert not one_database([ReadSource("replica-1", 3.0, None), ReadSource("primary", None, "unavailable")])

    def test_no_read_saw_nothing(self) -> None:
        assert not one_database([])
