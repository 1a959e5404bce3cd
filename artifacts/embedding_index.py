"""A FAISS index over product vectors, its id map and the encoder that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.encoder import OnnxEncoder
from artifacts.errors import ArtifactCorrupt
from artifacts.id_map import IdMap
from artifacts.manifest import Manifest
from artifacts.nearest import allow_reconstruction, nearest_products

INDEX_FILE = "index.faiss"
PRODUCTS_FILE = "products.parquet"


@dataclass(frozen=True)
class EmbeddingIndex:
    """Inner-product index over n unit vectors of dimension *dim*; ``product_ids[row]`` is the product at *row*."""

    index: Any
    product_ids: IdMap
    encoder: OnnxEncoder
    dim: int

    @classmethod
    def load(cls, directory: Path, manifest: Manifest) -> EmbeddingIndex:
        """
        Load an ``embeddings`` version and put a query to it.

        Raises:
            ArtifactCorrupt: a part cannot be loaded, the parts do not fit each other, or the query fails.
        """
        try:
            index = faiss.read_index(str(directory / INDEX_FILE))
            allow_reconstruction(index)
            product_ids = IdMap(pq.read_table(directory / PRODUCTS_FILE)["product_id"])
        except (RuntimeError, OSError, KeyError, pa.ArrowException) as error:
            raise ArtifactCorrupt(
                f"The index in {directory} cannot be loaded: {error}. Train embeddings again."
            ) from error
        encoder = OnnxEncoder(directory)
        loaded = cls(index, product_ids, encoder, encoder.dim)
        if problem := loaded._problem(manifest):
            raise ArtifactCorrupt(f"The index in {directory}: {problem}. Activate another version, or train again.")
        return loaded

    def vectors(self, product_ids: Sequence[str]) -> tuple[list[int], NDArray[np.float32]]:
        """
        Return the vectors of those *product_ids* that the index holds.

        Returns:
            rows, in the order asked for (``self.product_ids[row]`` names each), and float32 of shape (len(rows), dim).
        """
        found = self.product_ids.rows(product_ids)
        rows = found[found >= 0]
        if not len(rows):
            return [], np.empty((0, self.dim), dtype=np.float32)
        vectors: NDArray[np.float32] = self.index.reconstruct_batch(rows.astype(np.int64))
        return rows.tolist(), vectors

    def _problem(self, manifest: Manifest) -> str | None:
        """What keeps this index from answering, or None."""
        if self.index.d != self.dim or manifest.dim != self.dim:
            return f"index has dimension {self.index.d}, encoder {self.dim}, manifest {manifest.dim}"
        if self.index.ntotal != len(self.product_ids):
            return f"{self.index.ntotal} vectors for {len(self.product_ids)} products"
        if self.product_ids.repeats:
            return "a product appears twice"
        query = self.encoder.encode(["a query to see that the index answers"])[0]
        if not np.isclose(float(np.linalg.norm(query)), 1.0, atol=1e-3):
            return "the encoder's vectors are not of unit length"
        answers = nearest_products(self.index, self.product_ids, query, limit=1)
        if len(answers) != min(1, len(self.product_ids)) or not all(np.isfinite(score) for _, score in answers):
            return "a query for one product is not answered by one"
        return None
