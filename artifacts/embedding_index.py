"""A FAISS index over product vectors, its id map and the encoder that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.encoder import OnnxEncoder
from artifacts.errors import ArtifactCorrupt, EmbeddingMismatch
from artifacts.manifest import Manifest

INDEX_FILE = "index.faiss"
PRODUCTS_FILE = "products.parquet"
SCORE_DECIMALS = 6
_TIE_MARGIN = 16


@dataclass(frozen=True)
class EmbeddingIndex:
    """Inner-product index over n unit vectors of dimension *dim*; ``product_ids[row]`` is the product at *row*."""

    index: Any
    product_ids: list[str]
    encoder: OnnxEncoder
    dim: int
    rows: dict[str, int] = field(repr=False)

    @classmethod
    def load(cls, directory: Path, manifest: Manifest) -> EmbeddingIndex:
        """
        Load an ``embeddings`` version and put a query to it.

        Raises:
            ArtifactCorrupt: a part cannot be loaded, the parts do not fit each other, or the query fails.
        """
        try:
            index = faiss.read_index(str(directory / INDEX_FILE))
            product_ids: list[str] = pq.read_table(directory / PRODUCTS_FILE)["product_id"].to_pylist()
        except (RuntimeError, OSError, KeyError, pa.ArrowException) as error:
            raise ArtifactCorrupt(
                f"The index in {directory} cannot be loaded: {error}. Train embeddings again."
            ) from error
        encoder = OnnxEncoder(directory)
        loaded = cls(
            index, product_ids, encoder, encoder.dim, {product: row for row, product in enumerate(product_ids)}
        )
        if problem := loaded._problem(manifest):
            raise ArtifactCorrupt(f"The index in {directory}: {problem}. Activate another version, or train again.")
        return loaded

    def vectors(self, product_ids: Sequence[str]) -> tuple[list[int], NDArray[np.float32]]:
        """
        Return the vectors of those *product_ids* that the index holds.

        Returns:
            rows, in the order asked for (``self.product_ids[row]`` names each), and float32 of shape (len(rows), dim).
        """
        rows = [self.rows[product] for product in product_ids if product in self.rows]
        if not rows:
            return [], np.empty((0, self.dim), dtype=np.float32)
        found: NDArray[np.float32] = self.index.reconstruct_batch(np.array(rows, dtype=np.int64))
        return rows, found

    def _problem(self, manifest: Manifest) -> str | None:
        """What keeps this index from answering, or None."""
        if self.index.d != self.dim or manifest.dim != self.dim:
            return f"index has dimension {self.index.d}, encoder {self.dim}, manifest {manifest.dim}"
        if self.index.ntotal != len(self.product_ids):
            return f"{self.index.ntotal} vectors for {len(self.product_ids)} products"
        if len(self.rows) != len(self.product_ids):
            return "a product appears twice"
        query = self.encoder.encode(["a query to see that the index answers"])[0]
        if not np.isclose(float(np.linalg.norm(query)), 1.0, atol=1e-3):
            return "the encoder's vectors are not of unit length"
        answers = nearest_products(self.index, self.product_ids, query, limit=1)
        if len(answers) != min(1, len(self.product_ids)) or not all(np.isfinite(score) for _, score in answers):
            return "a query for one product is not answered by one"
        return None


def nearest_products(
    index: Any,  # noqa: ANN401  FAISS has no types
    product_ids: Sequence[str],
    embedding: NDArray[np.float32],
    *,
    limit: int,
) -> list[tuple[str, float]]:
    """
    Return the products whose vectors have the largest inner product with *embedding*.

    Args:
        index: FAISS inner-product index over n unit vectors of dimension d.
        product_ids: Length n; ``product_ids[row]`` is the product at index row *row*.
        embedding: float32, shape (d,), L2-normalised, so a score is a cosine.
        limit: Most candidates to return, at least 1.

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
    query = np.ascontiguousarray(embedding[np.newaxis, :])
    asked = min(limit + _TIE_MARGIN, index.ntotal)
    while asked:
        candidates = _search(index, product_ids, query, asked)
        if asked == index.ntotal or len(candidates) < asked or candidates[limit - 1][1] > candidates[-1][1]:
            return candidates[:limit]
        asked = min(2 * asked, index.ntotal)
    return []


def _search(
    index: Any,  # noqa: ANN401  FAISS has no types
    product_ids: Sequence[str],
    query: NDArray[np.float32],
    asked: int,
) -> list[tuple[str, float]]:
    scores, rows = index.search(query, asked)
    # FAISS pads short results with row -1.
    found = [
        (product_ids[row], min(1.0, max(-1.0, round(score, SCORE_DECIMALS))))
        for row, score in zip(rows[0].tolist(), scores[0].tolist(), strict=True)
        if row >= 0
    ]
    return sorted(found, key=lambda candidate: (-candidate[1], candidate[0]))
