"""The products nearest to a vector, among all of an index or those of a mask, whatever the kind of index."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from artifacts.errors import EmbeddingMismatch
from artifacts.index_kind import inverted_lists

SCORE_DECIMALS = 6
# Up to so many rows a mask is gone through one by one: exact, and quicker than an index that passes most rows by.
EXHAUSTIVE_ROWS = 10_000
# An inverted index gives its vectors back slowly, and passes by what a mask keeps out quickly.
_EXHAUSTIVE_ROWS_INVERTED = 2_000
# What passes a mask may lie away from the query: lists are visited beyond in proportion.
_WIDENING = 1.5
_TIE_MARGIN = 16
_MOST_VISITED = 20_000

# Its stubs know the constructors only as C++ has them.
_faiss: Any = faiss

Mask = NDArray[np.bool_]
Nearest = list[tuple[str, float]]


def nearest_products(
    index: Any,  # noqa: ANN401  FAISS has no types
    product_ids: Sequence[str],
    embedding: NDArray[np.float32],
    *,
    limit: int,
    keep: Mask | None = None,
) -> Nearest:
    """
    Return the products whose vectors have the largest inner product with *embedding*.

    Args:
        index: FAISS inner-product index over n unit vectors of dimension d; it must give its vectors back.
        product_ids: Length n; ``product_ids[row]`` is the product at index row *row*.
        embedding: float32, shape (d,), L2-normalised, so a score is a cosine.
        limit: Most candidates to return, at least 1.
        keep: The rows to look at, shape (n,); None: all.

    Returns:
        At most *limit* candidates, best first; score in [-1, 1], no unit, to six decimals (float32 arithmetic is
        not the same at every row beyond that). Equal scores by product id, also where *limit* cuts through them.

    Raises:
        EmbeddingMismatch: dimension or dtype differs from the index.

    Source:
        Johnson, Douze, Jégou, "Billion-scale similarity search with GPUs", 2017.
    """
    if embedding.shape != (index.d,) or embedding.dtype != np.float32:
        raise EmbeddingMismatch(
            f"The vector is {embedding.dtype} of shape {embedding.shape}, "
            f"the index holds float32 of shape ({index.d},). Encode it with the index's own encoder."
        )
    if limit < 1:
        raise ValueError(f"limit is {limit}; ask for at least 1 product")
    kept = index.ntotal if keep is None else int(np.count_nonzero(keep))
    if keep is not None and kept == index.ntotal:
        keep = None
    if keep is not None and kept <= _exhaustive_rows(index):
        rows = np.flatnonzero(keep)
        vectors = index.reconstruct_batch(rows) if kept else np.empty((0, index.d), dtype=np.float32)
        found = best_rows(vectors, embedding, limit=limit)
        return best([(product_ids[rows[place]], score) for place, score in found], limit)
    query = np.ascontiguousarray(embedding[np.newaxis, :])
    asked = min(limit + _TIE_MARGIN, kept)
    share = None if keep is None else kept / index.ntotal
    while asked:
        candidates = _search(index, product_ids, query, asked, keep=keep, share=share)
        if keep is not None and share and len(candidates) < min(limit, kept):
            # What passes lies far from the query: look everywhere.
            share = 0.0
            continue
        if asked == kept or len(candidates) < asked or candidates[limit - 1][1] > candidates[-1][1]:
            return candidates[:limit]
        asked = min(2 * asked, kept)
    return []


def best_rows(vectors: NDArray[np.float32], embedding: NDArray[np.float32], *, limit: int) -> list[tuple[int, float]]:
    """
    Return the rows of *vectors* with the largest inner product with *embedding*, ties at the limit included.

    Args:
        vectors: float32, shape (n, d), unit length.
        embedding: float32, shape (d,), unit length.
        limit: How many are wanted, at least 1.

    Returns:
        Rows in no order, and scores to six decimals. They are summed in float64, so that a vector's score is the same
        wherever it lies.
    """
    rough = vectors @ embedding
    if len(rough) > limit:
        least = np.partition(rough, len(rough) - limit)[len(rough) - limit]
        rows = np.flatnonzero(rough >= least - 10.0 ** -(SCORE_DECIMALS - 1))
    else:
        rows = np.arange(len(rough))
    scores = vectors[rows].astype(np.float64) @ embedding.astype(np.float64)
    return [(row, _score(score)) for row, score in zip(rows.tolist(), scores.tolist(), strict=True)]


def best(found: Nearest, limit: int) -> Nearest:
    """Return the first *limit* of *found* in the total order: by score, equal scores by product id."""
    return sorted(found, key=lambda candidate: (-candidate[1], candidate[0]))[:limit]


def allow_reconstruction(index: Any) -> None:  # noqa: ANN401  FAISS has no types
    """Let an inverted index give its vectors back by row, as the other kinds do."""
    inverted = inverted_lists(index)
    if inverted is not None:
        inverted.make_direct_map()


def is_exact(index: Any) -> bool:  # noqa: ANN401  FAISS has no types
    """Whether *index* gives back the very vectors that were added to it."""
    exact = (faiss.IndexFlat, faiss.IndexHNSWFlat, faiss.IndexIVFFlat, faiss.IndexRefineFlat)
    return isinstance(faiss.downcast_index(index), exact)


def _search(
    index: Any,  # noqa: ANN401  FAISS has no types
    product_ids: Sequence[str],
    query: NDArray[np.float32],
    asked: int,
    *,
    keep: Mask | None,
    share: float | None,
) -> Nearest:
    """The *asked* nearest; *share* is the part of the rows that *keep* lets pass, 0 to visit all there is."""
    if keep is None or share is None:
        scores, rows = index.search(query, asked)
    else:
        selector = _faiss.IDSelectorBitmap(np.packbits(keep, bitorder="little"))
        scores, rows = index.search(query, asked, params=_parameters(index, selector, asked, share))
    # FAISS pads short results with row -1.
    found = [
        (product_ids[row], _score(score))
        for row, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        if row >= 0
    ]
    return best(found, asked)


def _parameters(index: Any, selector: Any, asked: int, share: float) -> Any:  # noqa: ANN401  FAISS has no types
    """Search parameters for *selector*, which lets *share* of the rows pass: the fewer, the more is visited, 0: all."""
    outer = faiss.downcast_index(index)
    if isinstance(outer, faiss.IndexRefine):
        return _faiss.IndexRefineSearchParameters(
            k_factor=outer.k_factor,
            base_index_params=_parameters(outer.base_index, selector, int(asked * outer.k_factor), share),
        )
    if isinstance(outer, faiss.IndexPreTransform):
        return _faiss.SearchParametersPreTransform(index_params=_parameters(outer.index, selector, asked, share))
    inverted = inverted_lists(outer)
    if inverted is not None:
        probes = math.ceil(inverted.nprobe / share**_WIDENING) if share else inverted.nlist
        probes = min(inverted.nlist, probes)
        return _faiss.SearchParametersIVF(sel=selector, nprobe=probes)
    if isinstance(outer, faiss.IndexHNSW):
        visited = math.ceil(max(outer.hnsw.efSearch, asked) / share) if share else outer.ntotal
        visited = min(_MOST_VISITED, visited)
        return _faiss.SearchParametersHNSW(sel=selector, efSearch=visited)
    return _faiss.SearchParameters(sel=selector)


def _exhaustive_rows(index: Any) -> int:  # noqa: ANN401  FAISS has no types
    return EXHAUSTIVE_ROWS if inverted_lists(index) is None else min(EXHAUSTIVE_ROWS, _EXHAUSTIVE_ROWS_INVERTED)


def _score(score: float) -> float:
    return min(1.0, max(-1.0, round(score, SCORE_DECIMALS)))
