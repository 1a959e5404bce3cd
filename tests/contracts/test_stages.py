from __future__ import annotations

import pytest

from contracts.stages import CAUSES, HEALTHY_CAUSES, STAGE_NAMES, Cause, Stage

DEGRADING = [cause for cause in CAUSES if cause not in HEALTHY_CAUSES]


class TestStage:
    def test_names_and_causes_are_the_closed_lists_of_the_contract(self) -> None:
        names = {"keyword", "semantic", "collaborative", "similar", "popular", "profile", "hydrate", "rank", "cache"}
        assert set(STAGE_NAMES) == names
        assert {"unknown_user", "version_mismatch", "not_requested", "no_match"} == HEALTHY_CAUSES
        assert set(DEGRADING) == {
            "circuit_open",
            "timeout",
            "unavailable",
            "overloaded",
            "artifact_missing",
            "artifact_corrupt",
            "replica_lag",
        }

    @pytest.mark.parametrize("cause", sorted(HEALTHY_CAUSES))
    def test_healthy_causes_explain_and_never_degrade(self, cause: Cause) -> None:
        assert not Stage("keyword", "skipped", cause=cause).degraded

    @pytest.mark.parametrize("cause", DEGRADING)
    def test_every_other_cause_degrades(self, cause: Cause) -> None:
        assert Stage("keyword", "skipped", cause=cause).degraded

    def test_another_source_does_not_change_hits(self) -> None:
        assert not Stage("hydrate", "fallback", fallback="primary", cause="replica_lag").may_change_hits
        assert not Stage("cache", "fallback", fallback="database", cause="unavailable").may_change_hits
        assert not Stage("popular", "fallback", fallback="gateway", cause="timeout").may_change_hits
        assert Stage("rank", "fallback", fallback="popularity", cause="unavailable").may_change_hits
        assert Stage("hydrate", "skipped", cause="unavailable").may_change_hits
