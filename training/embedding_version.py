"""From stored vectors to a published version: gathered, indexed, checked against exact search."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import pyarrow as pa
import pyarrow.parquet as pq
import ray

from artifacts.embedding_index import INDEX_FILE, PRODUCTS_FILE
from artifacts.encoder import OnnxEncoder
from artifacts.index_kind import KIND, PLANNED, SEARCH, kind_of, search_parameters
from artifacts.manifest import Manifest, ManifestDraft
from artifacts.self_test import SAMPLES, SelfTest, evenly
from storage.settings import StorageSettings
from training.arguments import store_at
from training.embedding_encoder import SOURCE, Encoder
from training.embedding_texts import read_products
from training.embedding_vectors import StoredVectors, reading_past, stored_vectors
from training.index_build import build_index
from training.index_check import LEAST_RECALL, checked_index
from training.index_choice import AUTOMATIC, index_plan
from training.progress import Stopwatch

DIGEST = "products_digest"


@dataclass(frozen=True)
class VersionOrder:
    """
    What version to make.

    Attributes:
        root: The artifact root.
        draft: Its manifest so far.
        model: What the encoder's model is called.
        after: The place in the primary's log up to which vectors were written.
        titles: Texts like those that people search with.
        index: The kind of index, or ``auto``.
        least_recall: What the index has to find of the ten nearest.
        threads: How many it takes.
    """

    root: str
    draft: ManifestDraft
    settings: StorageSettings
    model: str
    after: str
    titles: Sequence[str]
    index: str = AUTOMATIC
    least_recall: float = LEAST_RECALL
    threads: int = 2


def make_version(order: VersionOrder, encoder: Encoder) -> Manifest:
    """
    Index the stored vectors of *encoder*, check the index, publish both; return the manifest.

    Raises:
        QualityTooLow: the index finds too little; nothing was published.
        UnknownIndex: there is no such kind of index.
        NothingToTrainOn: there are no vectors.
        ArtifactStoreUnavailable: nothing was published.
    """
    store, watch = store_at(order.root), Stopwatch()
    if order.draft.version in store.versions("embeddings"):
        # Another try at this task had come that far when its worker died.
        return store.manifest("embeddings", order.draft.version)
    stored = asyncio.run(stored_vectors(order.settings, encoder.version, encoder.dim, after=order.after))
    if stored.refused:
        _say(
            f"{stored.refused} vectors in product_embeddings are damaged, their products are left out of the index; "
            "delete those rows to have them made anew"
        )
    watch.lap("gather")
    plan = index_plan(len(stored.vectors), order.index)
    index = build_index(plan, stored.vectors, threads=order.threads, said=_say)
    watch.lap("index")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        encoder.save(directory)
        onnx = OnnxEncoder(directory, threads=order.threads)
        queries = onnx.encode(order.titles)
        figures = checked_index(index, plan, stored.vectors, queries, least_recall=order.least_recall)
        watch.lap("check")
        faiss.write_index(index, str(directory / INDEX_FILE))
        pq.write_table(pa.table({"product_id": stored.product_ids}), directory / PRODUCTS_FILE)
        asyncio.run(_self_test(order, encoder, onnx, index, stored)).save(directory)
        watch.lap("write")
        draft = order.draft.model_copy(
            update={
                "encoder": encoder.version,
                "dim": encoder.dim,
                "metric": "inner_product",
                "counts": {"products": len(stored.vectors), **order.draft.counts},
                "parameters": order.draft.parameters
                | {
                    "model": order.model,
                    "max_tokens": encoder.max_tokens,
                    SOURCE: encoder.source,
                    DIGEST: stored.digest,
                    "index": {
                        KIND: kind_of(index),
                        PLANNED: plan.kind,
                        SEARCH: search_parameters(index),
                        "vectors": "encoder.onnx",
                    },
                },
                "metrics": dict(encoder.metrics) | figures.metrics(),
                "seconds": order.draft.seconds | watch.seconds,
            }
        )
        return store.publish(directory, draft)


async def _self_test(
    order: VersionOrder,
    encoder: Encoder,
    onnx: OnnxEncoder,
    index: faiss.Index,
    stored: StoredVectors,
) -> SelfTest:
    """A self-test on products whose text is still that of their vector."""
    rows = {stored.product_ids[row].as_py(): row for row in evenly(len(stored.product_ids), 4 * SAMPLES)}
    async with reading_past(order.settings, order.after) as connection:
        products = await read_products(connection, encoder.version, ids=list(rows))
    sound = {
        rows[product.product_id]: (product.product_id, product.text) for product in products if product.is_embedded
    }
    chosen = [list(sound)[place] for place in evenly(len(sound), SAMPLES)]
    return SelfTest.of_rows(onnx, index, {row: sound[row] for row in chosen})


def _say(message: str) -> None:
    """Print *message*; Ray passes it on to the job."""
    print(message, flush=True)


made_version = ray.remote(max_retries=2)(make_version)
"""`make_version` as a task that another worker takes over when one dies."""
