from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.candidates import Placing
from contracts.ranked import RankRequest
from ranking.config import RankingConfig, Weights
from ranking.rankers import FactorVersion, PopularityRanker, WeightedRanker, total_order
from tests.ranking.candidates import candidates


class Factors:
    """Item factors in a dictionary."""

    def __init__(self, **factors: list[float]) -> None:
        self._factors = factors

    def rows_of(self, product_ids: list[str]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        rows = [row for row, product_id in enumerate(product_ids) if product_id in self._factors]
        found = [self._factors[product_ids[row]] for row in rows]
        return np.array(rows, dtype=np.int64), np.array(found, dtype=np.float32).reshape(len(rows), -1)


def ids(ranker: WeightedRanker | PopularityRanker, request: RankRequest) -> list[str]:
    return [hit.product_id for hit in ranker.rank(request).hits]


class TestWeightedRanker:
    def test_ranks_by_the_weighted_features(self) -> None:
        shown = candidates(["a", "b"], search=[0.9, 0.5], popularity=[0.1, 1.0], age_days=[0.0, 0.0])
        page = WeightedRanker().rank(RankRequest(shown))
        assert [(hit.product_id, hit.rank, hit.score) for hit in page.hits] == [("b", 1, 0.714285), ("a", 2, 0.685714)]

    def test_the_user_vector_of_a_held_version_moves_what_the_user_likes_up(self) -> None:
        shown = candidates(["a", "b"], search=[0.5, 0.5])
        ranker = WeightedRanker(factor_versions=(FactorVersion("v2", Factors(a=[0.1], b=[0.9])),))
        request = RankRequest(shown, user_vector=np.array([1.0], dtype=np.float32), user_vector_version="v2")
        assert ids(ranker, request) == ["b", "a"]
        assert ranker.rank(request).cf_version == "v2"

    def test_the_previous_version_still_serves_a_vector_made_with_it(self) -> None:
        held = (FactorVersion("v2", Factors(a=[0.9], b=[0.1])), FactorVersion("v1", Factors(a=[0.1], b=[0.9])))
        shown = candidates(["a", "b"], search=[0.5, 0.5])
        request = RankRequest(shown, user_vector=np.array([1.0], dtype=np.float32), user_vector_version="v1")
        page = WeightedRanker(factor_versions=held).rank(request)
        assert ([hit.product_id for hit in page.hits], page.cf_version) == (["b", "a"], "v1")

    def test_a_vector_of_a_version_nobody_holds_gives_no_cf(self) -> None:
        ranker = WeightedRanker(factor_versions=(FactorVersion("v2", Factors(a=[0.9])),))
        request = RankRequest(
            candidates(["a"], search=[0.5]), user_vector=np.array([1.0], dtype=np.float32), user_vector_version="v9"
        )
        page = ranker.rank(request)
        assert page.version_mismatch
        assert page.hits[0].features["cf"] is None

    def test_a_product_without_factors_has_no_cf(self) -> None:
        ranker = WeightedRanker(factor_versions=(FactorVersion("v1", Factors(a=[0.5])),))
        shown = candidates(["a", "new"], search=[0.5, 0.5])
        request = RankRequest(shown, user_vector=np.array([1.0], dtype=np.float32), user_vector_version="v1")
        features = {hit.product_id: hit.features["cf"] for hit in ranker.rank(request).hits}
        assert features == {"a": 0.5, "new": None}

    def test_equal_scores_go_by_product_id(self) -> None:
        assert ids(WeightedRanker(), RankRequest(candidates(["c", "a", "b"], search=[0.5] * 3))) == ["a", "b", "c"]

    def test_pages_continue_the_order_without_gap_or_overlap(self) -> None:
        shown = candidates([f"p{row:02}" for row in range(25)], search=[row / 25 for row in range(25)])
        whole = ids(WeightedRanker(), RankRequest(shown, limit=100))
        pages = [ids(WeightedRanker(), RankRequest(shown, offset=offset, limit=10)) for offset in (0, 10, 20)]
        assert [product_id for page in pages for product_id in page] == whole
        last = WeightedRanker().rank(RankRequest(shown, offset=20, limit=10)).hits
        assert [hit.rank for hit in last] == [21, 22, 23, 24, 25]

    def test_out_of_stock_products_are_dropped_unless_asked_for(self) -> None:
        shown = candidates(["a", "b"], search=[0.9, 0.1], out_of_stock=frozenset("a"))
        assert ids(WeightedRanker(), RankRequest(shown)) == ["b"]
        assert ids(WeightedRanker(), RankRequest(shown, keep_out_of_stock=True)) == ["a", "b"]

    def test_counts_what_is_kept_over_all_pages(self) -> None:
        shown = candidates(["a", "b", "c"], search=[0.1, 0.2, 0.3])
        page = WeightedRanker().rank(RankRequest(shown, excluded_ids=frozenset("a"), limit=1))
        assert (page.kept, page.removed["excluded"], len(page.hits)) == (2, 1, 1)

    def test_explains_when_asked(self) -> None:
        placing = Placing(ranks=np.array([3]), scores=np.array([1.25]))
        shown = candidates(["a"], search=[0.5], popularity=[1.0], placings={"keyword": placing})
        hit = WeightedRanker().rank(RankRequest(shown, explain=True)).hits[0]
        assert hit.explanation is not None
        assert hit.explanation.retrievers == {"keyword": {"rank": 3, "score": 1.25}}
        assert hit.explanation.contributions == {
            "search": 0.333333,
            "cf": 0.0,
            "popularity": 0.333333,
            "freshness": 0.0,
        }
        assert sum(hit.explanation.contributions.values()) == pytest.approx(hit.score, abs=1e-9)

    def test_nothing_to_rank_is_an_empty_page(self) -> None:
        assert WeightedRanker().rank(RankRequest(candidates([]))).hits == []

    def test_new_weights_are_a_new_version(self) -> None:
        changed = RankingConfig(weights=Weights(search=0.5))
        assert changed.version != RankingConfig().version
        assert RankingConfig().version == RankingConfig(weights=Weights()).version

    def test_products_of_a_category_are_weighed_by_its_weights(self) -> None:
        by_popularity = Weights(search=0, cf=0, popularity=1, freshness=0)
        ranker = WeightedRanker(RankingConfig(category_weights={"wine": by_popularity}))
        shown = candidates(
            ["a", "b", "c"],
            search=[0.5, 0.5, 0.5],
            popularity=[1.0, 1.0, 1.0],
            categories=["cheese", "wine", None],
        )
        hits = ranker.rank(RankRequest(shown, explain=True)).hits
        assert [(hit.product_id, hit.score) for hit in hits] == [("b", 1.0), ("a", 0.666666), ("c", 0.666666)]
        assert [hit.explanation.weights["search"] for hit in hits if hit.explanation] == [0.0, 0.666667, 0.666667]

    def test_the_categories_of_what_the_rules_keep_decide(self) -> None:
        by_popularity = Weights(search=0, cf=0, popularity=1, freshness=0)
        ranker = WeightedRanker(RankingConfig(category_weights={"wine": by_popularity}))
        shown = candidates(
            ["a", "b"], popularity=[0.25, 0.5], search=[1.0, 1.0], categories=["cheese", "wine"], hidden=frozenset("a")
        )
        assert [(hit.product_id, hit.score) for hit in ranker.rank(RankRequest(shown)).hits] == [("b", 0.5)]

    def test_where_no_category_is_known_the_weights_of_all_count(self) -> None:
        ranker = WeightedRanker(RankingConfig(category_weights={"wine": Weights(search=0)}))
        shown = candidates(["a"], search=[1.0], popularity=[0.5])
        assert ranker.rank(RankRequest(shown)).hits[0].score == WeightedRanker().rank(RankRequest(shown)).hits[0].score

    def test_weights_of_a_category_are_part_of_the_version_whatever_their_order(self) -> None:
        wine, cheese = Weights(search=0.1), Weights(cf=0.9)
        one = RankingConfig(category_weights={"wine": wine, "cheese": cheese})
        other = RankingConfig(category_weights={"cheese": cheese, "wine": wine})
        assert one.version == other.version
        assert (
            len({one.version, RankingConfig().version, RankingConfig(category_weights={"wine": cheese}).version}) == 3
        )

    def test_weights_that_weigh_nothing_are_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one weight"):
            Weights(search=0, cf=0, popularity=0, freshness=0)


class TestPopularityRanker:
    def test_ranks_by_popularity_alone(self) -> None:
        shown = candidates(["a", "b", "c"], search=[1.0, 0.0, 0.5], popularity=[0.1, 0.9, np.nan])
        assert ids(PopularityRanker(), RankRequest(shown)) == ["b", "a", "c"]

    def test_the_drop_rules_apply_as_ever(self) -> None:
        shown = candidates(
            ["a", "b", "c", "d"],
            popularity=[0.9, 0.8, 0.7, 0.6],
            out_of_stock=frozenset("a"),
            hidden=frozenset("b"),
        )
        assert ids(PopularityRanker(), RankRequest(shown, excluded_ids=frozenset("c"))) == ["d"]


class TestTotalOrder:
    @given(
        st.lists(st.tuples(st.integers(0, 3), st.text(min_size=1, max_size=3)), unique_by=lambda pair: pair[1]),
        st.randoms(use_true_random=False),
    )
    def test_does_not_depend_on_the_input_order(self, pairs: list[tuple[int, str]], random: object) -> None:
        def ordered(some: list[tuple[int, str]]) -> list[str]:
            micros = np.array([micro for micro, _ in some], dtype=np.int64)
            product_ids = [product_id for _, product_id in some]
            return [product_ids[row] for row in total_order(micros, product_ids)]

        shuffled = list(pairs)
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        assert ordered(shuffled) == ordered(pairs)
