"""What an embeddings version says of itself when it is published, and has to show again wherever it is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from artifacts.encoder import OnnxEncoder
from artifacts.errors import ArtifactCorrupt
from artifacts.id_map import IdMap
from artifacts.regular_file import open_regular

SELF_TEST_FILE = "self_test.json"
SAMPLES = 8
# The same encoder gives vectors a little apart on processors with other integer arithmetic.
MARGIN = 0.03


class Sample(BaseModel):
    """A product of the index and the text that its vector was made from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    product_id: str
    text: str


class SelfTest(BaseModel):
    """
    A few texts whose vectors the index holds.

    Attributes:
        samples: Which.
        cosine: The least cosine, when published, between what the encoder makes of a text and what the index gives
            back for its product: 1, or less where the index compresses its vectors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: list[Sample]
    cosine: Annotated[float, Field(ge=-1, le=1.001)]

    @classmethod
    def made(cls, encoder: OnnxEncoder, index: Any, products: Sequence[tuple[str, str]]) -> SelfTest:  # noqa: ANN401
        """
        Choose samples evenly among *products* and measure them.

        Args:
            encoder: The encoder that queries will go through.
            index: FAISS index that gives its vectors back.
            products: Product id and text of each row of *index*.
        """
        return cls.of_rows(encoder, index, {row: products[row] for row in evenly(len(products), SAMPLES)})

    @classmethod
    def of_rows(cls, encoder: OnnxEncoder, index: Any, products: Mapping[int, tuple[str, str]]) -> SelfTest:  # noqa: ANN401
        """The same for chosen *products*: row of the index to product id and text."""
        samples = [Sample(product_id=product_id, text=text) for product_id, text in products.values()]
        measured = _cosines(encoder, index, list(products), [sample.text for sample in samples])
        return cls(samples=samples, cosine=round(float(measured.min(initial=1.0)), 4))

    def save(self, directory: Path) -> None:
        """Write the test's file into *directory*."""
        (directory / SELF_TEST_FILE).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path) -> SelfTest:
        """
        Read what `save` wrote.

        Raises:
            ArtifactCorrupt: it cannot be read.
        """
        try:
            with open_regular(directory / SELF_TEST_FILE) as file:
                return cls.model_validate_json(file.read())
        except (OSError, ValidationError) as error:
            raise ArtifactCorrupt(f"The self-test in {directory} cannot be read: {error}.") from error

    def problem(self, encoder: OnnxEncoder, index: Any, product_ids: IdMap) -> str | None:  # noqa: ANN401
        """Return how encoder, index and id map fail to fit each other, or None where they do."""
        rows = [product_ids.row(sample.product_id) for sample in self.samples]
        for sample, row in zip(self.samples, rows, strict=True):
            if row < 0:
                return f"the index lacks {sample.product_id}, a product of its self-test"
        measured = _cosines(encoder, index, rows, [sample.text for sample in self.samples])
        for sample, cosine in zip(self.samples, measured.tolist(), strict=True):
            if not cosine >= self.cosine - MARGIN:
                return (
                    f"the encoder's vector of {sample.product_id} has cosine {cosine:.3f} with the index's own, "
                    f"{self.cosine:.3f} when published: they are not of one encoder"
                )
        return None


def evenly(count: int, wanted: int) -> list[int]:
    """At most *wanted* of *count* rows, evenly spaced."""
    rows: list[int] = np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64)).tolist()
    return rows


def _cosines(
    encoder: OnnxEncoder,
    index: Any,  # noqa: ANN401  FAISS has no types
    rows: Sequence[int],
    texts: Sequence[str],
) -> NDArray[np.float32]:
    """The cosine between each text's vector and that of its row, float32, shape (n,)."""
    if not rows:
        return np.empty(0, dtype=np.float32)
    held: NDArray[np.float32] = index.reconstruct_batch(np.array(rows, dtype=np.int64))
    lengths = np.linalg.norm(held, axis=1)
    cosines: NDArray[np.float32] = (encoder.encode(texts) * held).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    return cosines
