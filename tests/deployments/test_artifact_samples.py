from __future__ import annotations

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import EmbeddingIndex
from deployments.artifact_samples import artifact_samples
from tests.artifacts.test_active import eventually


def figures(artifact: ActiveArtifact[EmbeddingIndex]) -> dict[str, float]:
    """Values by name and cause."""
    return {
        sample.name.removeprefix("shortlist_artifact_") + sample.tags.get("cause", ""): sample.value
        for sample in artifact_samples(artifact)()
        if sample.tags["kind"] == "embeddings"
    }


class TestArtifactSamples:
    def test_a_version_in_use_has_an_age(self, embeddings: ActiveArtifact[EmbeddingIndex]) -> None:
        found = figures(embeddings)
        assert found["loaded"] == 1
        assert 0 <= found["age_seconds"] < 3600
        assert (found["refusedartifact_missing"], found["refusedartifact_corrupt"]) == (0, 0)

    def test_nothing_in_use_has_none(self, no_embeddings: ActiveArtifact[EmbeddingIndex]) -> None:
        assert eventually(lambda: no_embeddings.looked)
        found = figures(no_embeddings)
        assert found["loaded"] == 0
        assert "age_seconds" not in found
