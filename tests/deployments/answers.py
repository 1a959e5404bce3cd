"""An answer with something in every field."""

from __future__ import annotations

from contracts.answers import Answer
from contracts.ranked import Explanation, RankedHit, RankedPage
from contracts.stages import Stage
from contracts.versions import Freshness, Versions

VERSIONS = Versions(
    index="i1", changes="7-9+2", vocabulary="english-1", popularity="pop-1", cf="c1", weights="w1", config="g1"
)


def answer(*product_ids: str, versions: Versions = VERSIONS, stages: list[Stage] | None = None) -> Answer:
    """Return an answer with these hits, healthy unless its stages say otherwise."""
    return Answer(
        page=RankedPage(
            hits=[
                RankedHit(
                    product_id=product_id,
                    rank=rank,
                    score=round(1 / (3 * rank), 6),
                    retriever="keyword",
                    features={"search": 0.1 + 0.2, "cf": None, "popularity": 1.0, "freshness": 1e-17},
                    explanation=Explanation(
                        weights={"search": 1 / 3},
                        contributions={"search": 0.123457},
                        rules=["boost"],
                        retrievers={"keyword": {"rank": 1, "score": 1.2345678901234567}},
                    ),
                )
                for rank, product_id in enumerate(product_ids, start=1)
            ],
            kept=len(product_ids),
            removed={"hidden": 1},
            weights_version="w1",
            cf_version="c1",
            version_mismatch=False,
        ),
        products=None,
        truncated=True,
        answered=True,
        stages=[Stage("keyword", source="replica-1", ms=1.5), *(stages or [])],
        versions=versions,
        freshness=Freshness(read_from="replica-1", replica_lag_ms=3, index_age_s=120),
        event_count=4,
    )
