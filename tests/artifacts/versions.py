"""Whole versions of each kind, small, and the ways in which a file of one goes wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.embedding_index import INDEX_FILE, PRODUCTS_FILE
from artifacts.encoder import OnnxEncoder
from artifacts.factors import Factors
from artifacts.manifest import ArtifactKind, ManifestDraft
from artifacts.popularity_table import PopularityTable
from artifacts.self_test import SelfTest
from tests.artifacts.tiny_encoder import DIM, MAX_TOKENS, write_tiny_encoder
from tests.artifacts.vectors import flat

TITLES = {"p1": "red wine", "p2": "blue film", "p3": "film"}


def write_embeddings(directory: Path) -> ManifestDraft:
    """An index of three products, with its self-test."""
    write_tiny_encoder(directory)
    encoder = OnnxEncoder(directory)
    index = flat(encoder.encode(list(TITLES.values())))
    faiss.write_index(index, str(directory / INDEX_FILE))
    pq.write_table(pa.table({"product_id": list(TITLES)}), directory / PRODUCTS_FILE)
    SelfTest.made(encoder, index, list(TITLES.items())).save(directory)
    return ManifestDraft(kind="embeddings", encoder="tiny", dim=DIM, counts={"products": len(TITLES)})


def write_factors(directory: Path) -> ManifestDraft:
    """One user, two items."""
    ones = np.ones((2, 2), dtype=np.float32)
    Factors(["u"], ["p1", "p2"], ones[:1], ones, 0.1, 1.0, np.array([3])).save(directory)
    return ManifestDraft(kind="collaborative", dim=2, counts={"users": 1, "items": 2})


def write_popularity(directory: Path) -> ManifestDraft:
    """Two products."""
    PopularityTable(["p1", "p2"], np.array([1, 0.5], np.float32), np.array([9.0, 3.0])).save(directory)
    return ManifestDraft(kind="popularity")


def write_encoder(directory: Path) -> ManifestDraft:
    """A tuned encoder, without the model it was exported from."""
    write_tiny_encoder(directory)
    return ManifestDraft(kind="encoder", encoder="tiny", dim=DIM, parameters={"max_tokens": MAX_TOKENS})


WRITERS: dict[ArtifactKind, Callable[[Path], ManifestDraft]] = {
    "embeddings": write_embeddings,
    "collaborative": write_factors,
    "popularity": write_popularity,
    "encoder": write_encoder,
}


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _rewrite(change: Callable[[bytearray], bytes | bytearray]) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        path.write_bytes(change(bytearray(path.read_bytes())))

    return rewrite


def _flipped(place: float) -> Callable[[bytearray], bytearray]:
    def flip(content: bytearray) -> bytearray:
        content[int(place * (len(content) - 1))] ^= 1
        return content

    return flip


def _directory(path: Path) -> None:
    remove(path)
    path.mkdir()


def _pipe(path: Path) -> None:
    remove(path)
    os.mkfifo(path)


def _loop(path: Path) -> None:
    remove(path)
    path.symlink_to(path.name)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": remove,
    "empty": _rewrite(lambda _: b""),
    "truncated": _rewrite(lambda content: content[: len(content) // 2]),
    "first-bit": _rewrite(_flipped(0)),
    "middle-bit": _rewrite(_flipped(0.5)),
    "late-bit": _rewrite(_flipped(0.9)),
    "longer": _rewrite(lambda content: content + b"x"),
    "zeros": _rewrite(lambda content: bytes(len(content))),
    "directory": _directory,
    "pipe": _pipe,
    "link-to-itself": _loop,
}
