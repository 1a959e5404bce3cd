"""Figures of collaborative filtering, held against those in golden.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from scipy import sparse

from evaluation.baselines import ItemKnnRecommender
from evaluation.collaborative import SETTINGS
from evaluation.data_sets import DATA_SETS
from evaluation.holdout import some_of_each_user
from evaluation.metrics import SparseMatrix
from evaluation.recommendation import evaluate
from evaluation.recommenders import FactorRecommender, PopularityRecommender, Recommender
from tests.shared_data import SHARED_DATA, needs_shared_data
from tests.training.made_up import tastes
from training.als import AlsSettings, fit_factors

GOLDEN: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "golden.yaml").read_text(encoding="utf-8"))


def figures(recommender: Recommender, known: SparseMatrix, wanted: SparseMatrix) -> dict[str, float]:
    means = evaluate(recommender, known, wanted).means()
    return {name: means[name] for name in ("ndcg_at_20", "recall_at_20")}


@pytest.fixture(scope="module")
def made_up() -> tuple[SparseMatrix, SparseMatrix]:
    matrix = tastes(3000, 800, 25)
    users, items = matrix.nonzero()
    withheld = some_of_each_user(users, share=0.2, at_least=5, seed=1)
    known, wanted = (
        sparse.csr_matrix((matrix.data[chosen], (users[chosen], items[chosen])), shape=matrix.shape)
        for chosen in (~withheld, withheld)
    )
    return known, wanted


class TestMadeUpTastes:
    EXPECTED = GOLDEN["collaborative"]["made-up tastes"]

    @pytest.mark.parametrize("name", ["ALS", "item-kNN", "popularity"])
    def test_figures_are_as_they_were(self, made_up: tuple[SparseMatrix, SparseMatrix], name: str) -> None:
        known, wanted = made_up
        recommender: Recommender
        if name == "ALS":
            recommender = FactorRecommender(*fit_factors(known, AlsSettings(factors=16, alpha=4, iterations=8)))
        elif name == "item-kNN":
            recommender = ItemKnnRecommender(known)
        else:
            recommender = PopularityRecommender(known)
        expected = pytest.approx(self.EXPECTED[name], abs=self.EXPECTED["tolerance"])
        assert figures(recommender, known, wanted) == expected


@pytest.mark.long
@needs_shared_data
@pytest.mark.parametrize("name", [name for name in GOLDEN["collaborative"] if name in DATA_SETS])
class TestDataSets:
    def test_figures_are_as_they_were(self, name: str) -> None:
        expected = GOLDEN["collaborative"][name]
        chosen = yaml.safe_load((SETTINGS / f"{name}.yaml").read_text(encoding="utf-8"))
        fields = {key: value for key, value in chosen.items() if key in AlsSettings.__dataclass_fields__}
        data_set = DATA_SETS[name](SHARED_DATA)
        ids = (sorted(data_set.train[column].unique()) for column in ("user_id", "product_id"))
        known, wanted = data_set.matrices(*ids)
        found = figures(FactorRecommender(*fit_factors(known, AlsSettings(**fields))), known, wanted)
        assert found == pytest.approx(expected["ALS"], abs=expected["tolerance"])
