from __future__ import annotations

import pytest

from deployments.cache_status import CacheOutcome, cache_status


class TestCacheStatus:
    @pytest.mark.parametrize(
        ("outcome", "value"),
        [
            (CacheOutcome("hit", ttl_s=212), "Shortlist; hit; ttl=212"),
            (CacheOutcome("hit", ttl_s=9, detail="user-unread"), "Shortlist; hit; ttl=9; detail=user-unread"),
            (CacheOutcome("miss", detail="storing"), "Shortlist; fwd=miss; detail=storing"),
            (
                CacheOutcome("miss", collapsed=True, detail="degraded"),
                "Shortlist; fwd=miss; collapsed; detail=degraded",
            ),
            (CacheOutcome("miss", detail="unavailable"), "Shortlist; fwd=miss; detail=unavailable"),
            (CacheOutcome("bypass", detail="consistency-token"), "Shortlist; fwd=bypass; detail=consistency-token"),
        ],
    )
    def test_it_is_a_list_of_one_cache_with_parameters(self, outcome: CacheOutcome, value: str) -> None:
        assert cache_status(outcome) == value
