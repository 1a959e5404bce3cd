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
from artifacts.index_kind import KIND, SEARCH, kind_of, set_search_parameters
from artifacts.manifest import Manifest
from artifacts.nearest import allow_reconstruction, is_exact, nearest_products
from artifacts.self_test import SELF_TEST_FILE, SelfTest

INDEX_FILE = "index.faiss"
PRODUCTS_FILE = "products.parquet"
_BLOCK = 8_192
_LOSSY_SAMPLE = 10_000
_UNIT_LENGTH_WITHIN = 1e-2


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
        Load an ``embeddings`` version, have it pass its self-test where it has one, and put a query to it.

        Raises:
            ArtifactCorrupt: a part cannot be loaded, the parts do not fit each other, or the query fails.
        """
        try:
            index = faiss.read_index(str(directory / INDEX_FILE))
            allow_reconstruction(index)
            products = pq.read_table(directory / PRODUCTS_FILE)["product_id"]
            product_ids = IdMap(products.fill_null(""))
        except (RuntimeError, OSError, KeyError, pa.ArrowException) as error:
            raise ArtifactCorrupt(
                f"The index in {directory} cannot be loaded: {error}. Train embeddings again."
            ) from error
        encoder = OnnxEncoder(directory)
        loaded = cls(index, product_ids, encoder, encoder.dim)
        test = SelfTest.load(directory) if SELF_TEST_FILE in manifest.files else None
        if problem := loaded._problem(manifest, test):
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

    def _problem(self, manifest: Manifest, test: SelfTest | None) -> str | None:
        """What keeps this index from answering, or None."""
        return (
            self._misfit(manifest)
            or self._other_kind(manifest)
            or _bad_vector(self.index)
            or (test and test.problem(self.encoder, self.index, self.product_ids))
            or self._bad_answer()
        )

    def _misfit(self, manifest: Manifest) -> str | None:
        """How index, id map, encoder and manifest disagree about shape."""
        if self.index.d != self.dim or manifest.dim != self.dim:
            return f"index has dimension {self.index.d}, encoder {self.dim}, manifest {manifest.dim}"
        if self.index.metric_type != faiss.METRIC_INNER_PRODUCT:
            return "it does not search by inner product"
        if self.index.ntotal != len(self.product_ids):
            return f"{self.index.ntotal} vectors for {len(self.product_ids)} products"
        if manifest.counts.get("products", self.index.ntotal) != self.index.ntotal:
            return f"{self.index.ntotal} vectors where the manifest says {manifest.counts['products']}"
        if self.product_ids.row("") >= 0 or self.product_ids.repeats:
            return "a product appears twice, or has no id"
        return None

    def _other_kind(self, manifest: Manifest) -> str | None:
        """
        How the index's kind is not the one that the manifest says, or None once it is searched as the manifest says.

        Older manifests say less: what they do not say is as the file has it.
        """
        said = manifest.parameters.get("index", {})
        kind = kind_of(self.index)
        if said.get(KIND, kind) != kind:
            return f"it is of kind {kind} where the manifest says {said[KIND]}"
        if SEARCH in said:
            try:
                set_search_parameters(self.index, said[SEARCH])
            except (ValueError, AttributeError) as error:
                return f"the manifest's search parameters do not fit it: {error}"
        return None

    def _bad_answer(self) -> str | None:
        query = self.encoder.encode(["a query to see that the index answers"])[0]
        if not np.isclose(float(np.linalg.norm(query)), 1.0, atol=1e-3):
            return "the encoder's vectors are not of unit length"
        answers = nearest_products(self.index, self.product_ids, query, limit=1)
        if len(answers) != min(1, len(self.product_ids)) or not all(np.isfinite(score) for _, score in answers):
            return "a query for one product is not answered by one"
        return None


def _bad_vector(index: Any) -> str | None:  # noqa: ANN401  FAISS has no types
    """Say whether a vector is not finite or, where they are kept as they were, not of unit length."""
    exact = is_exact(index)
    count = index.ntotal if exact else min(index.ntotal, _LOSSY_SAMPLE)
    for first in range(0, count, _BLOCK):
        lengths = np.linalg.norm(index.reconstruct_n(first, min(_BLOCK, count - first)), axis=1)
        if not np.isfinite(lengths).all():
            return "a vector is not finite"
        if exact and np.abs(lengths - 1).max() > _UNIT_LENGTH_WITHIN:
            return "a vector is not of unit length"
    return None
