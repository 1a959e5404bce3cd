"""How well lists of products answer queries whose answers were judged by degree, by ir-measures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import ir_measures
import numpy as np
from ir_measures import nDCG

from evaluation.metrics import FloatVector
from evaluation.search_data import Judgments

MEASURES: dict[str, Any] = {
    "ndcg_at_10": nDCG @ 10,
    "judged_ndcg_at_10": nDCG(judged_only=True) @ 10,
}


def search_metrics(
    lists: Mapping[str, Sequence[str]], judgments: Judgments, measures: Iterable[str] = tuple(MEASURES)
) -> dict[str, FloatVector]:
    """
    Return each of *measures* for each query that some product answers, float64 of shape (queries,), in [0, 1].

    ``ndcg_at_10`` counts what nobody judged as no answer; ``judged_ndcg_at_10`` leaves it out of the list. The gain of
    a product is its judgment. A query for which nothing was judged above 0 has no best list and is left out; one
    without a list scores 0.

    Args:
        lists: Products by query, best first, each once.
        judgments: By query and product.
        measures: By the names of `MEASURES`.

    Source:
        Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002, as computed by trec_eval.
        Sakai, "Alternatives to Bpref", 2007, for lists without what was not judged.
    """
    names = {MEASURES[name]: name for name in measures}
    rows = {query: row for row, query in enumerate(answerable(judgments))}
    values = {name: np.zeros(len(rows)) for name in names.values()}
    ranked = {
        query: {product_id: float(-rank) for rank, product_id in enumerate(lists.get(query, ()))} for query in rows
    }
    relevant = {query: judgments[query] for query in rows}
    for found in ir_measures.iter_calc(list(names), relevant, ranked):
        values[names[found.measure]][rows[found.query_id]] = found.value
    return values


def answerable(judgments: Judgments) -> list[str]:
    """The queries that some product answers."""
    return [query for query, judged in judgments.items() if max(judged.values(), default=0) > 0]
