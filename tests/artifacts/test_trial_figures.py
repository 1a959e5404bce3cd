from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.trial_figures import ArmFigures, TrialFigures, compared, rank_correlation, summed

IDS = list(string.ascii_lowercase)


class TestCompared:
    def test_the_same_list_is_the_same(self) -> None:
        found = compared(IDS, [1.0] * 26, IDS, [1.0] * 26)
        assert (found.overlap, found.correlation, found.shift) == (1.0, 1.0, 0.0)

    def test_the_overlap_is_of_the_first_ten(self) -> None:
        other = [*IDS[5:10], *IDS[10:15], *IDS[:5]]
        assert compared(IDS, [0.0] * 26, other, [0.0] * 15).overlap == 0.5

    def test_the_shift_is_of_the_mean_score_of_the_first_ten(self) -> None:
        found = compared(["a", "b"], [0.8, 0.6], ["a", "c", "d"], [0.5, 0.4, 0.3])
        assert found.shift == pytest.approx(-0.3)

    def test_nothing_and_nothing_agree_and_nothing_and_something_do_not(self) -> None:
        assert compared([], [], [], []).overlap == 1.0
        assert compared(["a"], [1.0], [], []) == compared([], [], ["a"], [1.0])
        assert compared(["a"], [1.0], [], []).overlap == 0.0


class TestRankCorrelation:
    def test_it_is_spearmans_of_the_common_ones(self) -> None:
        stats = pytest.importorskip("scipy.stats")
        chance = random.Random(7)  # noqa: S311  no secret
        for _ in range(50):
            one, other = chance.sample(IDS, 15), chance.sample(IDS, 20)
            common = sorted({*one} & {*other})
            expected = stats.spearmanr([one.index(each) for each in common], [other.index(each) for each in common])
            assert rank_correlation(one, other) == pytest.approx(expected.statistic)

    def test_fewer_than_two_have_none(self) -> None:
        assert rank_correlation(["a", "b"], ["b", "c"]) is None

    @given(st.permutations(IDS[:8]))
    def test_the_reverse_is_the_opposite(self, order: list[str]) -> None:
        assert rank_correlation(order, order[::-1]) == -1.0


class TestFigures:
    def test_a_quantile_is_within_a_twentieth(self) -> None:
        figures = ArmFigures()
        for ms in range(1, 1001):
            figures.add(float(ms), failed=False)
        assert figures.quantile_ms(0.5) == pytest.approx(500, rel=0.05)
        assert figures.quantile_ms(0.95) == pytest.approx(950, rel=0.05)
        assert ArmFigures().quantile_ms(0.5) is None

    def test_the_sum_of_replicas_is_what_one_would_have_seen(self) -> None:
        one, other, both = TrialFigures(), TrialFigures(), TrialFigures()
        for number, (mine, list_) in enumerate([(one, "abc"), (other, "bac"), (one, "xyz"), (other, "b")]):
            comparison = compared(list("abc"), [1.0, 0.9, 0.8], list(list_), [0.5] * len(list_))
            for figures in (mine, both):
                figures.add(comparison)
                figures.trial.add(number + 1.0, failed=number == 0)
        total = summed([one, other])
        assert total.report() == both.report()
        assert total.report()["trial"]["errors"] == 1
        assert total.report()["overlap_at_10"] == pytest.approx((1 + 1 + 0 + 1 / 3) / 4, abs=1e-4)

    def test_they_come_back_from_json_as_they_were(self) -> None:
        figures = TrialFigures()
        figures.active.add(12.5, failed=True)
        assert TrialFigures.model_validate_json(figures.model_dump_json()) == figures

    def test_nothing_seen_has_no_means(self) -> None:
        assert TrialFigures().report()["rank_correlation"] is None
