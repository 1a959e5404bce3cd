"""
What a search replica holds in memory: ``python -m bench.search_memory --products 1M``.

Random unit vectors stand for the products' texts. The attribute columns are loaded from an embedded Postgres with as
many products, and then some more products are written and embedded there, which the change feed brings beside the
trained index. Each line is what this process grew by (PSS, which counts shared pages once); then what a search takes in
it. The encoder, some 110 MB, and Ray's own are not among it.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import faiss
import numpy as np
from numpy.typing import NDArray

from artifacts.active import Loaded
from artifacts.embedding_index import EmbeddingIndex
from artifacts.id_map import IdMap
from artifacts.manifest import Manifest, ManifestDraft
from artifacts.nearest import allow_reconstruction
from bench.imports import number, servers
from contracts.requests import SearchRequest
from retrieval.live_catalogue import LiveCatalogue
from storage.database import Database
from storage.settings import StorageSettings

DIM = 384
CHUNK = 20_000
TRAINED_ON = 100_000
SEARCHES = 20
LIMIT = 100
ENCODER = "bench"
FILTERS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "a category of a tenth": {"category": "Frequent 3"},
    "a category of one in ten thousand": {"category": "Rare"},
    "the dearer half, in stock": {"price_min": 500.0, "in_stock": True},
}


def vectors(count: int, seed: int) -> NDArray[np.float32]:
    """Random unit vectors, float32, shape (count, DIM)."""
    made = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    faiss.normalize_L2(made)
    return made


def memory_mb() -> float:
    """The proportional set size of this process."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    rollup = Path("/proc/self/smaps_rollup").read_text(encoding="ascii")
    return int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]) / 1024


class Scale:
    """Prints what each step added to this process."""

    def __init__(self) -> None:
        self._first = self._last = memory_mb()

    def say(self, what: str, seconds: float) -> None:
        """Print what was added since the line before, and how long that took."""
        now = memory_mb()
        print(f"{what:<58} {now - self._last:>9,.1f} MB {seconds:>8.1f} s", flush=True)
        self._last = now

    def total(self) -> None:
        """Print what was added in all."""
        print(f"{'all of it':<58} {self._last - self._first:>9,.1f} MB", flush=True)


async def fill(url: str, products: int) -> None:
    """Write the products, without the text index, which nothing here needs."""
    connection = await asyncpg.connect(url)
    await connection.execute("drop index if exists products_search_vector")
    await connection.execute(
        "insert into products (id, title, category, price, in_stock) "
        "select 'product-' || lpad(n::text, 8, '0'), 'tea', "
        "case when n % 10000 = 7 then 'Rare' else 'Frequent ' || n % 10 end, "
        "(n::bigint * 7919 % 100000) / 100.0, n % 5 > 0 "
        "from generate_series(0, $1::integer - 1) as n",
        products,
        timeout=3600,
    )
    await connection.execute("analyze products")
    await connection.close()


async def add(url: str, first: int, count: int) -> None:
    """Write and embed *count* more products."""
    connection = await asyncpg.connect(url)
    ids = [f"product-{row:08}" for row in range(first, first + count)]
    async with connection.transaction():
        await connection.execute("insert into products (id, title) select unnest($1::text[]), 'tea'", ids)
        rows = [(one, ENCODER, vector.tobytes()) for one, vector in zip(ids, vectors(count, 2), strict=True)]
        columns = ["product_id", "encoder_version", "embedding"]
        await connection.copy_records_to_table("product_embeddings", records=rows, columns=columns)
    await connection.close()


def trained(kind: str, products: int, scale: Scale) -> EmbeddingIndex:
    """An index of *kind* over as many vectors, with its ids."""
    started = time.monotonic()
    index = faiss.index_factory(DIM, kind, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        index.train(vectors(min(products, TRAINED_ON), 1))
    for chunk, first in enumerate(range(0, products, CHUNK)):
        index.add(vectors(min(CHUNK, products - first), 10 + chunk))
    allow_reconstruction(index)
    inverted = faiss.try_extract_index_ivf(index)
    if inverted is not None:
        inverted.nprobe = max(1, inverted.nlist // 32)
    scale.say(f"trained index {kind}, {products:,} x {DIM}", time.monotonic() - started)
    started = time.monotonic()
    ids = IdMap(f"product-{row:08}" for row in range(products))
    scale.say("its ids", time.monotonic() - started)
    return EmbeddingIndex(index, ids, cast("Any", None), DIM)


def search(catalogue: LiveCatalogue, query: NDArray[np.float32], filters: dict[str, Any]) -> int:
    """Search as the semantic retriever does; return how many were found."""
    look = catalogue.look(SearchRequest(q="tea", **filters))
    assert look.embeddings is not None
    found = look.embeddings.nearest(query, LIMIT, keep=look.keep)
    look.revisions([product_id for product_id, _ in found])
    return len(found)


async def measure(url: str, kind: str, products: int, new: int) -> None:
    """Print what one kind of index and all that goes with it take."""
    IdMap(["what the libraries themselves take is not the replica's"]).rows_in(IdMap())
    scale = Scale()
    database = Database(StorageSettings(url), application="bench")
    await database.start()
    position = str((await database.fetch("catalogue_position")).records[0]["position"])
    draft = ManifestDraft(
        kind="embeddings", encoder=ENCODER, dim=DIM, parameters={"changes_position": position}
    ).model_dump()
    index = trained(kind, products, scale)
    loaded = Loaded("bench", Manifest(**draft, files={}), index)
    started = time.monotonic()
    catalogue = LiveCatalogue(database, cast("Any", SimpleNamespace(current=loaded, cause=None)), period_s=0.5)
    await catalogue.start(wait_s=3600)
    scale.say("attribute columns, and their place in the index", time.monotonic() - started)
    started = time.monotonic()
    await add(url, products, new)
    await catalogue.reach(str(await database.consistency_token()), timeout_s=600)
    scale.say(f"live index of {new:,} new products", time.monotonic() - started)
    scale.total()
    for what, filters in FILTERS.items():
        times, found = [], 0
        for query in vectors(SEARCHES, 3):
            began = time.perf_counter()
            found = await asyncio.to_thread(search, catalogue, query, filters)
            times.append((time.perf_counter() - began) * 1000)
        p50, most = float(np.median(times)), max(times)
        print(f"search, {what}: {found} found{'':<10} p50 {p50:,.1f} ms, longest {most:,.1f} ms", flush=True)
    await catalogue.stop()
    await database.close()
    connection = await asyncpg.connect(url)
    await connection.execute("delete from products where id >= $1", f"product-{products:08}")
    await connection.close()


def main() -> None:
    """Read the flags, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.search_memory", description="Memory of a search replica.")
    parser.add_argument("--products", type=number, default=1_000_000)
    parser.add_argument("--new", type=number, default=10_000, help="products written since the training")
    parser.add_argument("--index", nargs="+", default=["Flat"], help="kinds of FAISS index, e.g. Flat SQ8 IVF1024,SQ8")
    flags = parser.parse_args()
    faiss.omp_set_num_threads(1)
    with servers() as (primary, _):
        started = time.monotonic()
        asyncio.run(fill(primary.url(), flags.products))
        print(f"{flags.products:,} products written in {time.monotonic() - started:.0f} s", flush=True)
        for kind in flags.index:
            asyncio.run(measure(primary.url(), kind, flags.products, flags.new))


if __name__ == "__main__":
    main()
