from __future__ import annotations

from deployments.graph_health import firing

REFUSED = {"alert": "ShortlistArtifactRefused", "text": "embeddings v2: sha256 of index.faiss differs"}
OPEN = {"alert": "ShortlistBreakerOpen", "text": "redis"}


class TestFiring:
    def test_what_any_part_raises_shows_once(self) -> None:
        parts = [{"healthy": True, "alerts": [REFUSED, OPEN]}, {"healthy": False, "cause": "timeout"}]
        assert firing([OPEN], parts) == [OPEN, REFUSED]

    def test_without_any_there_is_none(self) -> None:
        assert firing([], [{"alerts": []}]) == []
