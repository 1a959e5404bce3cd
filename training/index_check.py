"""An index against exact search: how much of what is nearest it finds, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from artifacts.index_kind import kind_of, search_parameters, set_search_parameters
from training.errors import QualityTooLow
from training.index_choice import IndexPlan

AT = 10
LEAST_RECALL = 0.95
# What the search parameter is tuned beyond the gate, so that other queries pass it too.
_MARGIN = 0.01
_TIMED, _TIMED_EXACTLY = 500, 30
_BLOCK = 50_000
_SAME = 1e-6

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class IndexFigures:
    """
    How good an index is, as its manifest says it.

    Attributes:
        recall_at_10: The share of the ten nearest vectors that it finds, over queries that nothing was tuned on.
        query_p50_ms: Milliseconds a query for ten, one thread, at the median; and at the 95th percentile.
        exact_p50_ms: The same by exact search over the same vectors.
    """

    recall_at_10: float
    query_p50_ms: float
    query_p95_ms: float
    exact_p50_ms: float
    exact_p95_ms: float

    def metrics(self) -> dict[str, float]:
        """All of them by name."""
        return asdict(self)


def checked_index(
    index: Any,  # noqa: ANN401  FAISS has no types
    plan: IndexPlan,
    vectors: Vectors,
    queries: Vectors,
    *,
    least_recall: float = LEAST_RECALL,
) -> IndexFigures:
    """
    Set the search parameter of *index* to the least that finds enough, and measure the index.

    One half of the queries chooses the parameter, the other gives the recall; where that is too little, on goes the
    choice.

    Args:
        index: Built from *vectors*.
        plan: Says what may be tuned.
        vectors: float32, shape (n, dim).
        queries: float32, shape (m, dim), m at least 1: vectors of texts that people would search with.
        least_recall: In [0, 1].

    Raises:
        QualityTooLow: however far it looks, it finds too little.
    """
    faiss.omp_set_num_threads(1)
    least_scores = tenth_scores(vectors, queries)
    tuned, judged = slice(0, None, 2), slice(1, None, 2) if len(queries) > 1 else slice(None)

    def recall(part: slice) -> float:
        return recall_of(index, vectors, queries[part], least_scores[part])

    for step in plan.steps:
        set_search_parameters(index, {str(plan.parameter): step})
        if recall(tuned) >= min(1.0, least_recall + _MARGIN) and recall(judged) >= least_recall:
            break
    found = recall(judged)
    require_recall(found, least_recall, kind_of(index), search_parameters(index))
    p50, p95 = milliseconds(lambda query: index.search(query, AT), queries[:_TIMED])
    exact_p50, exact_p95 = milliseconds(lambda query: exact_search(vectors, query), queries[:_TIMED_EXACTLY])
    return IndexFigures(round(found, 4), p50, p95, exact_p50, exact_p95)


def require_recall(recall: float, least: float, kind: str, parameters: Mapping[str, int]) -> None:
    """
    Refuse an index that misses too much.

    Raises:
        QualityTooLow: *recall* is below *least*, or not a number.
    """
    if not recall >= least:
        searched = " ".join(f"{name} {value}" for name, value in parameters.items())
        raise QualityTooLow(
            f"The index {kind} finds {recall:.4f} of the ten nearest{searched and f' with {searched}'}, at least "
            f"{least} is needed. Nothing was published; name another kind, such as --index Flat."
        )


def tenth_scores(vectors: Vectors, queries: Vectors) -> NDArray[np.float32]:
    """Return the inner product of each query with the last of the ten vectors nearest to it, float32, shape (m,)."""
    best = np.full((len(queries), AT), -np.inf, dtype=np.float32)
    for first in range(0, len(vectors), _BLOCK):
        block = vectors[first : first + _BLOCK]
        scores, _ = faiss.knn(queries, block, min(AT, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, :AT]
    return best[:, min(AT, len(vectors)) - 1]


def recall_of(
    index: Any,  # noqa: ANN401  FAISS has no types
    vectors: Vectors,
    queries: Vectors,
    least_scores: NDArray[np.float32],
) -> float:
    """Return the share of the ten nearest that *index* finds; of equal vectors any will do."""
    _, rows = index.search(np.ascontiguousarray(queries), AT)
    found = 0
    for query, own_rows, least in zip(queries, rows, least_scores, strict=True):
        scores = vectors[own_rows[own_rows >= 0]] @ query
        found += int(np.count_nonzero(scores >= least - _SAME))
    return found / (len(queries) * min(AT, len(vectors)))


def exact_search(vectors: Vectors, query: Vectors) -> None:
    """Look through all *vectors* for the ten nearest to *query*, shape (1, dim)."""
    faiss.knn(query, vectors, min(AT, len(vectors)), metric=faiss.METRIC_INNER_PRODUCT)


def milliseconds(search: Callable[[Vectors], object], queries: Vectors) -> tuple[float, float]:
    """Return how long one query at a time takes, at the median and at the 95th percentile."""
    times = []
    for row in range(len(queries)):
        query = np.ascontiguousarray(queries[row : row + 1])
        began = time.perf_counter()
        search(query)
        times.append((time.perf_counter() - began) * 1000)
    return round(float(np.percentile(times, 50)), 3), round(float(np.percentile(times, 95)), 3)
