from __future__ import annotations

from training.encoder_pairs import LONGEST_DOCUMENT, Pair, SplitRule, split_pairs

RULE = SplitRule(share=0.2)
MANY = [Pair("title", f"title {n}", f"description {n}", f"p{n}") for n in range(1000)]
CLICKS = [Pair("click", f"query {n % 50}", f"text {n % 200}", f"p{n % 200}") for n in range(1000)]


def learned(pairs: list[Pair], rule: SplitRule = RULE) -> list[tuple[str, str]]:
    table = split_pairs(pairs, rule).learned
    return list(zip(table["query"].to_pylist(), table["document"].to_pylist(), strict=True))


class TestSplitPairs:
    def test_a_product_is_learned_or_judged_by(self) -> None:
        split = split_pairs(MANY, RULE)
        held_out = {pair.query for pair in MANY if RULE.holds_out(pair.product_id)}
        assert set(split.judged.kinds["title"].queries) == held_out
        assert {query for query, _ in learned(MANY)} == {pair.query for pair in MANY} - held_out
        assert 150 < len(held_out) < 250

    def test_the_order_of_reading_does_not_count(self) -> None:
        shuffled = sorted(MANY, key=lambda pair: pair.product_id[::-1])
        rule = SplitRule(share=0.2, learned=100, judged=20, candidates=50)
        assert split_pairs(shuffled, rule).digest() == split_pairs(MANY, rule).digest()
        assert learned(shuffled, rule) == learned(MANY, rule)

    def test_a_product_that_is_added_moves_no_other(self) -> None:
        more = [*MANY, Pair("title", "new", "newer", "p1000")]
        assert set(learned(MANY)) <= set(learned(more))

    def test_another_seed_holds_out_others(self) -> None:
        assert set(learned(MANY)) != set(learned(MANY, SplitRule(seed=8, share=0.2)))

    def test_the_right_document_is_always_among_the_candidates(self) -> None:
        kind = split_pairs(MANY, SplitRule(share=0.2, candidates=5)).judged.kinds["title"]
        assert all(
            kind.documents[rows[0]] == query.replace("title", "description")
            for query, rows in zip(kind.queries, kind.right, strict=True)
        )

    def test_titles_are_asked_for_among_texts_of_all_products(self) -> None:
        assert len(split_pairs(MANY, RULE).judged.kinds["title"].documents) == len(MANY)

    def test_no_more_is_held_than_the_rule_says(self) -> None:
        split = split_pairs(MANY, SplitRule(share=0.2, learned=100, judged=20, candidates=50))
        kind = split.judged.kinds["title"]
        assert len(split.learned) == 100
        assert 15 < len(kind.queries) <= 20
        assert 50 <= len(kind.documents) <= 70

    def test_what_a_held_out_product_says_too_is_not_learned(self) -> None:
        """A variant with the same description, or the same title, would give the answer away."""
        held_out = next(pair for pair in MANY if RULE.holds_out(pair.product_id))
        others = [pair for pair in MANY if not RULE.holds_out(pair.product_id)]
        variants = [
            others[0]._replace(document=held_out.document.upper()),
            others[1]._replace(query=held_out.query),
            others[2],
        ]
        assert learned([held_out, *variants]) == [(others[2].query, others[2].document)]

    def test_pairs_without_a_text_are_none(self) -> None:
        split = split_pairs([Pair("title", "a", " ", "p1"), Pair("title", "", "b", "p2")], RULE)
        assert split.counts == {"learned": 0, "judged": 0, "candidates": 0}

    def test_texts_are_cut_to_what_the_encoder_reads(self) -> None:
        pair = next(pair for pair in MANY if not RULE.holds_out(pair.product_id))
        ((_, document),) = learned([pair._replace(document="x" * 5000)])
        assert len(document) == LONGEST_DOCUMENT

    def test_pairs_that_come_twice_count_once(self) -> None:
        assert learned([*MANY, *MANY]) == learned(MANY)


class TestClicks:
    def test_a_query_has_all_its_held_out_products_for_answers(self) -> None:
        kind = split_pairs(CLICKS, RULE).judged.kinds["click"]
        for query, rows in zip(kind.queries, kind.right, strict=True):
            expected = {pair.document for pair in CLICKS if pair.query == query and RULE.holds_out(pair.product_id)}
            assert {kind.documents[row] for row in rows} == expected

    def test_it_is_asked_among_held_out_products_alone(self) -> None:
        """Learned products that were clicked after the same query would be no wrong answers."""
        kind = split_pairs(CLICKS, RULE).judged.kinds["click"]
        held_out = {pair.document for pair in CLICKS if RULE.holds_out(pair.product_id)}
        assert set(kind.documents) == held_out

    def test_a_query_whose_answers_do_not_all_fit_is_left_out(self) -> None:
        whole = split_pairs(CLICKS, RULE).judged.kinds["click"]
        kind = split_pairs(CLICKS, SplitRule(share=0.2, judged=15)).judged.kinds["click"]
        answers = dict(zip(whole.queries, map(len, whole.right), strict=True))
        assert kind.queries
        assert {
            query: len(rows) for query, rows in zip(kind.queries, kind.right, strict=True)
        }.items() <= answers.items()
