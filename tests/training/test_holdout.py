from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training.made_up import checkerboard, interactions_of
from training.als import AlsSettings
from training.errors import WrongInput
from training.holdout import HoldoutKind, HoldoutRule, als_metrics, baseline_metrics

SETTINGS = AlsSettings(factors=2, alpha=20.0, regularization=0.01, iterations=15, seed=1)


class TestHoldoutRule:
    @pytest.mark.parametrize("kind", ["last", "time", "random"])
    def test_what_is_withheld_is_not_known(self, kind: HoldoutKind) -> None:
        interactions = interactions_of(checkerboard(40))
        holdout = HoldoutRule(kind, 0.2).cut(interactions)
        assert holdout is not None
        assert holdout.known.nnz + holdout.wanted.nnz == len(interactions)
        assert holdout.known.multiply(holdout.wanted).nnz == 0
        assert holdout.wanted.nnz == pytest.approx(0.2 * len(interactions), rel=0.1)

    def test_after_a_time_everything_is_withheld(self) -> None:
        interactions = interactions_of(checkerboard(40))
        holdout = HoldoutRule("time", 0.2).cut(interactions)
        assert holdout is not None
        times = interactions.last_at
        withheld = np.asarray(holdout.wanted[interactions.users, interactions.items]).ravel() > 0
        assert times[withheld].min() > times[~withheld].max()

    def test_the_data_may_name_what_is_withheld(self) -> None:
        interactions = interactions_of(checkerboard(8))
        given = replace(interactions, withheld=interactions.items == 0)
        holdout = HoldoutRule("given").cut(given)
        assert holdout is not None
        assert holdout.wanted.nonzero()[1].tolist() == [0] * 4
        with pytest.raises(WrongInput, match="no column holdout"):
            HoldoutRule("given").cut(interactions)

    @pytest.mark.parametrize("kind", ["last", "time"])
    def test_without_times_only_chance_can_cut(self, kind: HoldoutKind) -> None:
        timeless = replace(interactions_of(checkerboard(40)), last_at=np.zeros(800))
        with pytest.raises(WrongInput, match="take random"):
            HoldoutRule(kind).cut(timeless)
        assert HoldoutRule("last").settled(timeless).cut(timeless) is not None

    def test_with_times_the_rule_stays(self) -> None:
        assert HoldoutRule("last").settled(interactions_of(checkerboard(40))).kind == "last"

    def test_none_withholds_nothing(self) -> None:
        assert HoldoutRule("none").cut(interactions_of(checkerboard(40))) is None

    def test_users_of_few_interactions_cannot_be_held_out(self) -> None:
        assert HoldoutRule("last").cut(interactions_of(checkerboard(6))) is None


class TestMetrics:
    def test_a_checkerboard_is_foretold_and_beats_popularity(self) -> None:
        holdout = HoldoutRule("last").cut(interactions_of(checkerboard(60)))
        assert holdout is not None
        assert als_metrics(holdout, SETTINGS)["ndcg_at_10"] == 1.0
        assert baseline_metrics(holdout, learned=False)["popularity_ndcg_at_10"] < 0.9
        assert len(holdout.users) == 60

    def test_baselines_are_models(self) -> None:
        holdout = HoldoutRule("last").cut(interactions_of(checkerboard(60)))
        assert holdout is not None
        metrics = baseline_metrics(holdout, learned=True)
        assert metrics["item_knn_ndcg_at_10"] == 1.0
        assert metrics["bpr_ndcg_at_10"] > 0.9
