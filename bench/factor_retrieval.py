"""
Candidates by factors: exact search against FAISS, ``python -m bench.factor_retrieval``.

The factors are those of a fit to Gowalla; a larger catalogue is made of copies that differ by noise. One query at a
time, one thread, as a serving replica asks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evaluation.data_sets import gowalla
from retrieval.item_order import best_items
from training.als import AlsSettings, fit_factors

LIMIT = 200
QUERIES = 200
_NOISE = 0.1
_faiss: Any = faiss

Search = Callable[[NDArray[np.float32]], NDArray[np.int64]]


def catalogue(item_factors: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Return *size* rows: those given, then copies with a tenth of their length as noise; some of them, where fewer."""
    generator = np.random.default_rng(0)
    if size <= len(item_factors):
        return np.ascontiguousarray(item_factors[generator.permutation(len(item_factors))[:size]])
    copies = item_factors[np.arange(size) % len(item_factors)]
    noise = generator.standard_normal(copies.shape, dtype=np.float32)
    noise *= _NOISE * np.linalg.norm(copies, axis=1, keepdims=True) / np.sqrt(copies.shape[1])
    noise[: len(item_factors)] = 0
    return copies + noise


def searches(items: NDArray[np.float32]) -> list[tuple[str, Search, float, float]]:
    """Return name, search, seconds to build and MiB of each way to look among *items*."""
    ids = [str(row) for row in range(len(items))]
    dim = items.shape[1]

    def served(vector: NDArray[np.float32]) -> NDArray[np.int64]:
        found = best_items(ids, items @ vector, limit=LIMIT, without=frozenset())
        return np.array([int(item) for item, _ in found])

    def by(index: Any) -> Search:  # noqa: ANN401  FAISS has no types
        return lambda vector: index.search(vector[None], LIMIT)[1][0]

    flat = _faiss.IndexFlatIP(dim)
    flat.add(items)
    megabytes = items.nbytes / (1 << 20)
    ways: list[tuple[str, Search, float, float]] = [
        ("exact, as served", served, 0.0, 0.0),
        ("FAISS flat", by(flat), 0.0, megabytes),
    ]
    began = time.monotonic()
    graph = _faiss.IndexHNSWFlat(dim, 32, _faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 80
    faiss.omp_set_num_threads(2)
    graph.add(items)
    faiss.omp_set_num_threads(1)
    built = time.monotonic() - began
    for width in (200, 400, 800):

        def walk(vector: NDArray[np.float32], width: int = width) -> NDArray[np.int64]:
            graph.hnsw.efSearch = width
            found: NDArray[np.int64] = graph.search(vector[None], LIMIT)[1][0]
            return found

        ways.append((f"FAISS HNSW, efSearch {width}", walk, built, megabytes + len(items) * 32 * 2 * 4 / (1 << 20)))
    return ways


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.factor_retrieval", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--factors", type=int, default=64)
    flags = parser.parse_args()
    data_set = gowalla(flags.data)
    users = sorted(data_set.train["user_id"].unique())
    known, _ = data_set.matrices(users, sorted(data_set.train["product_id"].unique()))
    settings = AlsSettings(factors=flags.factors, alpha=20, regularization=5, iterations=5)
    user_factors, item_factors = fit_factors(known, settings)
    vectors = user_factors[np.random.default_rng(1).permutation(len(user_factors))[:QUERIES]]
    print(f"{flags.factors} factors, {LIMIT} candidates, {QUERIES} users, one thread")
    print("| items | search | recall | p50 ms | p95 ms | build s | MiB beside the factors |")
    print("|---|---|---|---|---|---|---|")
    with threadpool_limits(limits=1):
        faiss.omp_set_num_threads(1)
        for size in (int(each) for each in flags.sizes.split(",")):
            items = catalogue(item_factors, size)
            expected = [set(np.argpartition(-(items @ vector), LIMIT)[:LIMIT].tolist()) for vector in vectors]
            for name, search, built, memory in searches(items):
                seconds, shares = [], []
                for vector, best in zip(vectors, expected, strict=True):
                    began = time.perf_counter()
                    found = search(vector)
                    seconds.append(time.perf_counter() - began)
                    shares.append(len(best & set(found.tolist())) / LIMIT)
                p50, p95 = np.quantile(seconds, [0.5, 0.95]) * 1000
                figures = f"{np.mean(shares):.3f} | {p50:.2f} | {p95:.2f} | {built:.0f} | {memory:.0f}"
                print(f"| {size:,} | {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
