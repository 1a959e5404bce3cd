from __future__ import annotations

from ranking.rules import ExcludedRule, HiddenRule, OutOfStockRule, apply_rules
from tests.ranking.candidates import candidates


class TestApplyRules:
    def test_says_what_is_kept_and_what_each_rule_removed(self) -> None:
        shown = candidates(["a", "b", "c", "d"], out_of_stock=frozenset("b"), hidden=frozenset("c"))
        outcome = apply_rules(shown, [HiddenRule(), OutOfStockRule(), ExcludedRule(frozenset("d"))])
        assert outcome.kept.product_ids == ["a"]
        assert outcome.removed == {"hidden": ["c"], "out_of_stock": ["b"], "excluded": ["d"]}

    def test_a_product_that_two_rules_drop_counts_for_the_first(self) -> None:
        shown = candidates(["a"], out_of_stock=frozenset("a"), hidden=frozenset("a"))
        outcome = apply_rules(shown, [HiddenRule(), OutOfStockRule()])
        assert outcome.removed == {"hidden": ["a"], "out_of_stock": []}

    def test_configuration_hides_too(self) -> None:
        outcome = apply_rules(candidates(["a", "b"]), [HiddenRule(frozenset({"b"}))])
        assert outcome.kept.product_ids == ["a"]

    def test_no_rule_removes_nothing(self) -> None:
        assert apply_rules(candidates(["a", "b"]), []).kept.product_ids == ["a", "b"]
