from __future__ import annotations

import numpy as np
import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from contracts.candidates import Retrieval
from contracts.requests import SearchRequest
from contracts.stages import Stage
from retrieval.config import RetrievalConfig
from retrieval.search import SearchRetrieval
from storage.database import Database

CONFIG = RetrievalConfig(min_cosine=-1)


def stages(retrieval: Retrieval) -> dict[str, Stage]:
    return {stage.name: stage for stage in retrieval.stages}


async def search(
    database: Database, embeddings: ActiveArtifact[EmbeddingIndex], config: RetrievalConfig = CONFIG, **fields: object
) -> Retrieval:
    request = SearchRequest.model_validate({"q": "red wine", **fields})
    return await SearchRetrieval(database, embeddings, config).retrieve(request, timeout_s=10)


class TestSearchRetrieval:
    async def test_both_retrievers_contribute(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        found = await search(database, embeddings)
        assert {"p1", "p2", "p3", "p5"} <= set(found.candidates.product_ids)
        assert set(found.candidates.placings) == {"keyword", "semantic"}
        row = found.candidates.product_ids.index("p1")
        assert all(placing.ranks[row] > 0 for placing in found.candidates.placings.values())
        assert {stage.status for stage in found.stages} == {"ok"}

    async def test_what_only_words_found_is_rated_by_meaning_too(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        """However few products the search by meaning lists, relevance is the same."""
        every = (await search(database, embeddings)).candidates
        few = (await search(database, embeddings, RetrievalConfig(semantic_limit=2, min_cosine=-1))).candidates
        assert len(few) < len(every)
        relevance = dict(zip(every.product_ids, every.search.tolist(), strict=True))
        assert dict(zip(few.product_ids, few.search.tolist(), strict=True)) == {
            product_id: pytest.approx(relevance[product_id]) for product_id in few.product_ids
        }
        assert (few.placings["semantic"].ranks > 0).sum() == 1, "the other one was deleted"

    async def test_the_most_relevant_go_on_and_the_cut_is_told(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        every = await search(database, embeddings)
        cut = await search(database, embeddings, RetrievalConfig(search_limit=2, min_cosine=-1))
        assert not every.truncated
        assert cut.truncated
        assert cut.candidates.product_ids == every.candidates.product_ids[:2]

    async def test_without_columns_a_filter_is_applied_before_the_cut(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        config = RetrievalConfig(search_limit=1, min_cosine=-1)
        found = await search(database, embeddings, config, category="Films")
        assert set(found.candidates.product_ids) == {"p3", "p4"}

    async def test_candidates_carry_their_features(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        found = (await search(database, embeddings)).candidates
        features = {
            product_id: (round(found.popularity[row], 3), found.age_days[row], bool(found.in_stock[row]))
            for row, product_id in enumerate(found.product_ids)
        }
        assert features["p2"] == (0.9, 9.0, True)
        assert features["p4"] == (0.5, 7.0, False)
        assert features["p5"] == (0.0, 6.0, True), "a product nobody touched is not popular"

    async def test_a_product_the_index_still_holds_but_the_catalogue_does_not_is_dropped(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        assert "deleted" not in (await search(database, embeddings, mode="semantic")).candidates.product_ids

    async def test_versions_name_what_the_answer_depends_on(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        found = await search(database, embeddings)
        assert embeddings.current is not None
        assert found.versions.index == embeddings.current.version
        assert found.versions.popularity == "pop-1"
        assert found.versions.changes is not None
        assert found.freshness.read_from == "primary"

    async def test_one_retriever_when_one_is_asked_for(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        found = await search(database, embeddings, mode="keyword")
        assert set(found.candidates.placings) == {"keyword"}
        assert stages(found)["semantic"].cause == "not_requested"
        assert not stages(found)["semantic"].degraded

    async def test_filters_hold_for_both_retrievers(
        self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        assert set((await search(database, embeddings, category="Films")).candidates.product_ids) == {"p3", "p4"}
        priced = await search(database, embeddings, price_min=1.95, price_max=2.95)
        assert set(priced.candidates.product_ids) == {"p2", "p3"}
        assert set((await search(database, embeddings, in_stock=False)).candidates.product_ids) == {"p4"}

    async def test_a_list_cut_off_is_told(self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]) -> None:
        assert not (await search(database, embeddings)).truncated
        assert (await search(database, embeddings, RetrievalConfig(keyword_limit=1, min_cosine=-1))).truncated

    async def test_no_match_is_healthy(self, database: Database, embeddings: ActiveArtifact[EmbeddingIndex]) -> None:
        found = await search(database, embeddings, q="zebra", mode="keyword")
        assert found.answered
        assert (stages(found)["keyword"].cause, stages(found)["keyword"].degraded) == ("no_match", False)

    async def test_without_an_index_keyword_stands_in(
        self, database: Database, no_embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        for mode in ("hybrid", "semantic"):
            found = await search(database, no_embeddings, mode=mode)
            stage = stages(found)["semantic"]
            assert (stage.status, stage.fallback, stage.cause) == ("fallback", "keyword", "artifact_missing")
            assert "p1" in found.candidates.product_ids

    async def test_without_a_database_meaning_stands_in(
        self, broken_database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        found = await search(broken_database, embeddings, mode="keyword")
        stage = stages(found)["keyword"]
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "semantic", "unavailable")
        assert "p1" in found.candidates.product_ids
        assert stages(found)["hydrate"].cause == "unavailable"
        assert np.isnan(found.candidates.popularity).all()

    async def test_without_a_database_nothing_is_shown_to_pass_a_filter(
        self, broken_database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        found = await search(broken_database, embeddings, category="Films")
        assert len(found.candidates) == 0
        assert not found.answered

    async def test_without_anything_nothing_is_answered(
        self, broken_database: Database, no_embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        assert not (await search(broken_database, no_embeddings)).answered
