from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts import gate
from artifacts.errors import ArtifactCorrupt, ArtifactMissing, GateRefused
from artifacts.manifest import KINDS, ArtifactKind
from artifacts.quality import EVALUATIONS, FLOORS
from artifacts.store import ArtifactStore
from tests.artifacts.test_store import flip_a_bit
from tests.artifacts.versions import WRITERS

HOLDOUT = {"holdout": {"share": 0.2, "by": "last of each user"}}
Made = Callable[..., str]


@pytest.fixture
def made(store: ArtifactStore, tmp_path: Path) -> Made:
    """Publish a sound version with these metrics and parameters."""

    def make(kind: ArtifactKind = "collaborative", parameters: dict[str, Any] | None = None, **metrics: float) -> str:
        source = tmp_path / f"made-{len(list(tmp_path.glob('made-*')))}"
        source.mkdir()
        draft = WRITERS[kind](source)
        return store.publish(
            source,
            draft.model_copy(update={"metrics": metrics, "parameters": HOLDOUT if parameters is None else parameters}),
        ).version

    return make


def refusals(store: ArtifactStore, version: str, kind: ArtifactKind = "collaborative", **margin: float) -> list[str]:
    return gate.judge(store, kind, version, **margin).refusals


class TestGate:
    @pytest.mark.parametrize("kind", KINDS)
    def test_a_first_version_that_loads_passes(self, store: ArtifactStore, made: Made, kind: ArtifactKind) -> None:
        version = made(kind)
        assert gate.activate(store, kind, version).against is None
        assert store.active_version(kind) == version

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_changed_byte_is_refused_and_cannot_be_forced(
        self, store: ArtifactStore, made: Made, kind: ArtifactKind
    ) -> None:
        first, second = made(kind), made(kind)
        gate.activate(store, kind, first)
        flip_a_bit(
            next(path for path in sorted((Path(store.root) / kind / second).iterdir()) if "manifest" not in path.name)
        )
        with pytest.raises(ArtifactCorrupt, match="sha256"):
            gate.activate(store, kind, second, force=True)
        assert store.active_version(kind) == first

    def test_what_matches_its_checksums_and_does_not_load_is_refused(
        self, store: ArtifactStore, tmp_path: Path
    ) -> None:
        source = tmp_path / "made"
        source.mkdir()
        draft = WRITERS["collaborative"](source).model_copy(update={"dim": 7})
        with pytest.raises(ArtifactCorrupt, match="2 factors where the manifest says 7"):
            gate.activate(store, "collaborative", store.publish(source, draft).version)

    def test_one_that_does_not_exist_is_missing(self, store: ArtifactStore) -> None:
        with pytest.raises(ArtifactMissing):
            gate.activate(store, "collaborative", "20261122T150405Z-3fa9c1")

    def test_a_worse_one_is_refused_with_the_figures(self, store: ArtifactStore, made: Made) -> None:
        good, worse = made(ndcg_at_10=0.2, recall_at_20=0.3), made(ndcg_at_10=0.189, recall_at_20=0.31)
        gate.activate(store, "collaborative", good)
        with pytest.raises(GateRefused) as refusal:
            gate.activate(store, "collaborative", worse)
        assert refusal.value.reasons == ["ndcg_at_10: 0.1890 against 0.2000 (-5.5%), at least 0.1900 is needed"]
        assert "--margin" in str(refusal.value)
        assert store.active_version("collaborative") == good

    def test_within_the_margin_it_passes(self, store: ArtifactStore, made: Made) -> None:
        gate.activate(store, "collaborative", made(ndcg_at_10=0.2))
        version = made(ndcg_at_10=0.1901)
        assert refusals(store, version) == []
        assert len(refusals(store, version, margin=0.01)) == 1
        assert refusals(store, made(ndcg_at_10=0.2), margin=0.0) == []

    def test_a_figure_that_is_kept_back_is_refused(self, store: ArtifactStore, made: Made) -> None:
        gate.activate(store, "collaborative", made(ndcg_at_10=0.2))
        assert refusals(store, made()) == ["ndcg_at_10: missing, the active version has 0.2000"]

    def test_one_that_was_measured_by_nothing_is_refused(self, store: ArtifactStore, made: Made) -> None:
        gate.activate(store, "collaborative", made(ndcg_at_10=0.2))
        version = made(parameters={"holdout": {"by": "none"}})
        assert refusals(store, version) == ["ndcg_at_10: missing, the active version has 0.2000"]

    @pytest.mark.parametrize("parameters", [{}, {"holdout": {"share": 0.1}}])
    def test_figures_of_another_evaluation_are_not_compared_and_that_is_said(
        self, store: ArtifactStore, made: Made, parameters: dict[str, Any]
    ) -> None:
        gate.activate(store, "collaborative", made(ndcg_at_10=0.2))
        verdict = gate.judge(store, "collaborative", made(parameters=parameters, ndcg_at_10=0.01))
        assert verdict.refusals == []
        assert "not compared" in verdict.judgements[0].detail

    @pytest.mark.parametrize(("popularity", "passes"), [(0.1, True), (0.11, False)])
    def test_one_that_was_measured_otherwise_has_to_be_better_than_no_model(
        self, store: ArtifactStore, made: Made, popularity: float, passes: bool
    ) -> None:
        gate.activate(store, "collaborative", made(ndcg_at_10=0.2))
        version = made(parameters={"holdout": {"by": "random"}}, ndcg_at_10=0.1, popularity_ndcg_at_10=popularity)
        found = refusals(store, version)
        assert (found == []) is passes
        assert passes or found[0].endswith("0.1000 against 0.1100 by popularity alone")

    def test_an_active_version_that_is_lost_keeps_no_sound_one_out(self, store: ArtifactStore, made: Made) -> None:
        lost = made(ndcg_at_10=0.9)
        gate.activate(store, "collaborative", lost)
        flip_a_bit(Path(store.root) / "collaborative" / lost / "item_factors.npy")
        version = made(ndcg_at_10=0.2)
        verdict = gate.activate(store, "collaborative", version)
        assert "cannot be used" in verdict.remarks[0]
        assert store.active_version("collaborative") == version

    def test_a_scribbled_pointer_keeps_no_sound_one_out(self, store: ArtifactStore, made: Made) -> None:
        version = made(ndcg_at_10=0.2)
        (Path(store.root) / "collaborative" / "ACTIVE").write_text("scribble")
        assert "not compared" in gate.activate(store, "collaborative", version).remarks[0]

    @pytest.mark.parametrize(("recall", "passes"), [(0.96, True), (0.95, True), (0.9, False)])
    def test_an_index_that_finds_too_little_of_what_exact_search_finds_is_refused(
        self, store: ArtifactStore, made: Made, recall: float, passes: bool
    ) -> None:
        version = made("embeddings", recall_at_10=recall)
        assert (refusals(store, version, "embeddings") == []) is passes

    def test_force_is_written_down_with_what_it_overruled(self, store: ArtifactStore, made: Made) -> None:
        gate.activate(store, "collaborative", made(ndcg_at_10=0.2))
        version = made(ndcg_at_10=0.1)
        gate.activate(store, "collaborative", version, force=True)
        last = store.history("collaborative")[-1]
        assert (last.version, last.overruled) == (
            version,
            ("ndcg_at_10: 0.1000 against 0.2000 (-50.0%), at least 0.1900 is needed",),
        )

    def test_what_goes_with_an_activation_keeps_it_from_happening_when_it_fails(
        self, store: ArtifactStore, made: Made
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError

        with pytest.raises(OSError):  # noqa: PT011  any
            gate.activate(store, "collaborative", made(), enter=fail)
        assert store.active_version("collaborative") is None


class TestRollBack:
    def test_figures_do_not_count_and_the_next_one_goes_further_back(self, store: ArtifactStore, made: Made) -> None:
        versions = [made(ndcg_at_10=figure) for figure in (0.1, 0.2, 0.3)]
        for version in versions:
            gate.activate(store, "collaborative", version)
        for expected in (versions[1], versions[0]):
            gate.roll_back(store, "collaborative", store.in_use_before("collaborative")[0])
            assert store.active_version("collaborative") == expected
        assert store.in_use_before("collaborative") == []

    def test_one_that_does_not_load_is_refused(self, store: ArtifactStore, made: Made) -> None:
        before, active = made(), made()
        for version in (before, active):
            gate.activate(store, "collaborative", version)
        flip_a_bit(Path(store.root) / "collaborative" / before / "item_factors.npy")
        with pytest.raises(ArtifactCorrupt):
            gate.roll_back(store, "collaborative", before)
        assert store.active_version("collaborative") == active


class TestDeclarations:
    @pytest.mark.parametrize("kind", KINDS)
    def test_every_kind_has_its_place(self, kind: ArtifactKind) -> None:
        assert kind in EVALUATIONS
        assert kind in FLOORS
        assert kind in gate.LOADERS
