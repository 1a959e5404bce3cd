"""
Kinds of index over as many vectors as a large catalogue has: ``python -m bench.vector_index --vectors 1M``.

Vectors and queries are those of `bench.real_vectors`. Every kind is built by two threads, and then loaded and searched
by one, in processes of its own. A kind's search parameter is the least that finds 96 % of the ten nearest of one half
of the queries; recall is that of the other half. Memory is what a process grows by, without the vectors that it reads
from a file. hnswlib (``pip install '.[bench]'``, which needs a C++ compiler) is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from artifacts.index_kind import set_search_parameters
from artifacts.nearest import allow_reconstruction, nearest_products
from bench.imports import number
from bench.real_vectors import DATA, real_vectors, write_vectors
from training.index_build import build_index
from training.index_check import LEAST_RECALL, milliseconds, recall_of, tenth_scores
from training.index_choice import index_plan, kind_for

HNSWLIB = "hnswlib M=16"
KINDS = ["Flat", "SQ8", "IVF2048,Flat", "IVF2048,SQ8", "IVF2048,PQ96x4fs,Refine(SQ8)", "HNSW32", "HNSW32,SQ8", HNSWLIB]
TUNED_TO = LEAST_RECALL + 0.01
LIMIT = 100
FILTERED_QUERIES = 100
SLOW_QUERIES = 50
EXHAUSTIVE = {"Flat", "SQ8"}

Vectors = NDArray[np.float32]


@dataclass
class Hnswlib:
    """hnswlib behind what is used of a FAISS index here."""

    dim: int
    index: Any = field(init=False)

    def __post_init__(self) -> None:
        self.index = importlib.import_module("hnswlib").Index(space="ip", dim=self.dim)

    def build(self, vectors: Vectors, threads: int) -> None:
        """Add all *vectors* to a graph of 16 links a node, built with ef 100."""
        self.index.init_index(max_elements=len(vectors), M=16, ef_construction=100, random_seed=7)
        for first in range(0, len(vectors), 20_000):
            self.index.add_items(vectors[first : first + 20_000], num_threads=threads)

    def search(self, queries: Vectors, count: int) -> tuple[Vectors, NDArray[np.int64]]:
        """As FAISS has it."""
        labels, distances = self.index.knn_query(queries, k=count, num_threads=1)
        return 1 - distances, labels.astype(np.int64)


class AnonymousMemory:
    """The most memory that this process takes over what it took at first, pages of files aside; in MB."""

    def __init__(self) -> None:
        self._first = self._most = _anonymous_mb()
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, _anonymous_mb())

    def grown_mb(self) -> float:
        """What it takes more now."""
        return _anonymous_mb() - self._first

    def peak_mb(self) -> float:
        """What it took more at most."""
        return max(self._most, _anonymous_mb()) - self._first


def _anonymous_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon:")).split()[1]) / 1024


@dataclass(frozen=True)
class Bench:
    """The files of one run."""

    directory: Path
    count: int

    @property
    def vectors(self) -> Vectors:
        """float32, (count, dim), mapped."""
        mapped: Vectors = np.memmap(self.directory / "vectors", dtype=np.float32, mode="r").reshape(self.count, -1)
        return mapped

    @property
    def queries(self) -> Vectors:
        """float32, (m, dim)."""
        loaded: Vectors = np.load(self.directory / "queries.npy")
        return loaded

    def build(self, kind: str, threads: int) -> dict[str, float]:
        """Build and write the index; return ``seconds``, ``build_mb`` and ``file_mb``."""
        memory, began, target = AnonymousMemory(), time.monotonic(), self.directory / "index"
        if kind == HNSWLIB:
            index = Hnswlib(self.vectors.shape[1])
            index.build(self.vectors, threads)
            seconds = time.monotonic() - began
            index.index.save_index(str(target))
        else:
            made = build_index(index_plan(self.count, kind), self.vectors, threads=threads)
            seconds = time.monotonic() - began
            faiss.write_index(made, str(target))
        return {"seconds": seconds, "build_mb": memory.peak_mb(), "file_mb": target.stat().st_size / 1e6}

    def search(self, kind: str) -> dict[str, Any]:
        """Load the index, tune it, search; return ``load_mb``, ``parameter``, ``recall``, ``p50`` and ``p95``."""
        faiss.omp_set_num_threads(1)
        queries, least = self.queries, np.load(self.directory / "tenth.npy")
        memory, plan = AnonymousMemory(), index_plan(self.count, "HNSW" if kind == HNSWLIB else kind)
        index, set_parameter = self._loaded(kind)
        if kind in EXHAUSTIVE:
            queries, least = queries[: 2 * SLOW_QUERIES], least[: 2 * SLOW_QUERIES]
        chosen = None
        for step in plan.steps:
            set_parameter(step)
            chosen = step
            if recall_of(index, self.vectors, queries[::2], least[::2]) >= TUNED_TO:
                break
        p50, p95 = milliseconds(lambda query: index.search(query, 10), queries[1::2])
        found: dict[str, Any] = {
            "load_mb": memory.peak_mb(),
            "parameter": chosen,
            "recall": recall_of(index, self.vectors, queries[1::2], least[1::2]),
            "p50": p50,
            "p95": p95,
        }
        if kind == kind_for(self.count):
            found["filters"] = [self._filtered(index, name, keep) for name, keep in self._filters()]
        return found

    def _loaded(self, kind: str) -> tuple[Any, Callable[[int], None]]:
        """The index, and how to set its search parameter."""
        path = str(self.directory / "index")
        if kind == HNSWLIB:
            other = Hnswlib(self.vectors.shape[1])
            other.index.load_index(path)
            return other, other.index.set_ef
        index = faiss.read_index(path)
        allow_reconstruction(index)
        name = index_plan(self.count, kind).parameter
        return index, lambda step: set_search_parameters(index, {str(name): step})

    def _filters(self) -> Iterator[tuple[str, NDArray[np.bool_] | None]]:
        """Masks: rows at random, and rows around one product, as a category is, whatever the query asks for."""
        yield "no filter", None
        rng = np.random.default_rng(5)
        for share in (0.5, 0.1):
            yield f"{share:.0%} of the products, at random", rng.random(self.count) < share
        likeness = self.vectors @ self.vectors[int(rng.integers(self.count))]
        for share in (0.1, 0.03, 0.01, 0.001):
            yield f"a category of {share:.1%}", likeness > np.quantile(likeness, 1 - share)

    def _filtered(self, index: Any, name: str, keep: NDArray[np.bool_] | None) -> dict[str, Any]:  # noqa: ANN401
        """Recall@10 and milliseconds of a search for LIMIT products as serving does it."""
        queries, vectors, ids = self.queries[:FILTERED_QUERIES], self.vectors, range(self.count)
        least = tenth_scores(vectors if keep is None else vectors[keep], queries)
        found: list[list[tuple[Any, float]]] = []
        p50, p95 = milliseconds(
            lambda query: found.append(nearest_products(index, ids, query[0], limit=LIMIT, keep=keep)),  # type: ignore[arg-type]
            queries,
        )
        hits = [
            np.count_nonzero(vectors[[row for row, _ in answer[:10]]] @ query >= score - 1e-6)
            for answer, query, score in zip(found, queries, least, strict=True)
        ]
        fewest, most = min(map(len, found)), min(10, self.count if keep is None else int(np.count_nonzero(keep)))
        return {"filter": name, "recall": float(np.mean(hits)) / most, "p50": p50, "p95": p95, "fewest": fewest}


@contextmanager
def prepared(count: int, data: Path, kept: Path | None, where: Path | None) -> Iterator[Bench]:
    """The vectors, queries and right answers of a run, on disk until its end."""
    with TemporaryDirectory(prefix="shortlist-bench-", dir=where) as name:
        bench, began = Bench(Path(name), count), time.monotonic()
        real = real_vectors(data, kept)
        np.save(bench.directory / "queries.npy", real.queries)
        vectors = write_vectors(real, count, bench.directory / "vectors")
        np.save(bench.directory / "tenth.npy", tenth_scores(vectors, real.queries))
        print(
            f"{count:,} vectors x {vectors.shape[1]} from {len(real.products):,} real ones, {len(real.queries):,} real "
            f"queries, made in {time.monotonic() - began:.0f} s",
            flush=True,
        )
        yield bench


def in_its_own_process(bench: Bench, step: str, kind: str, threads: int) -> dict[str, Any]:
    """What the method *step* of *bench* returns, called in a fresh interpreter."""
    command = [sys.executable, "-m", "bench.vector_index", "--step", step, "--kinds", kind]
    command += [f"--vectors={bench.count}", f"--directory={bench.directory}", f"--threads={threads}"]
    answered = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    answer: dict[str, Any] = json.loads(answered.stdout.splitlines()[-1])
    return answer


def main() -> None:
    """Read the flags, run, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.vector_index", description=__doc__)
    parser.add_argument("--vectors", type=number, default=1_000_000)
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    parser.add_argument("--threads", type=int, default=2, help="that build")
    parser.add_argument("--data", type=Path, default=DATA, help="the measurement data")
    parser.add_argument("--kept", type=Path, help="file to keep the real vectors in for the next run, .npz")
    parser.add_argument("--directory", type=Path, help="where to put up to 5 GB; else the temporary directory")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--step", choices=["build", "search"], help=argparse.SUPPRESS)
    flags = parser.parse_args()
    # Ended from outside, it takes its files along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if flags.step:
        bench = Bench(flags.directory, flags.vectors)
        answer = bench.build(flags.kinds[0], flags.threads) if flags.step == "build" else bench.search(flags.kinds[0])
        print(json.dumps(answer))
        return
    if not flags.data.exists() and not (flags.kept and flags.kept.exists()):
        sys.exit(f"{flags.data} is absent: the texts of the vectors are read there. Name it with --data.")
    with prepared(flags.vectors, flags.data, flags.kept, flags.directory) as bench:
        print(f"{'kind':<30} {'built s':>8} {'build MB':>9} {'file MB':>8} {'loaded MB':>9} ", end="")
        print(f"{'visited':>8} {'recall@10':>9} {'p50 ms':>8} {'p95 ms':>8}", flush=True)
        kinds: dict[str, dict[str, Any]] = {}
        for kind in flags.kinds:
            if kind == HNSWLIB and importlib.util.find_spec("hnswlib") is None:
                print(f"{kind:<30} is not installed", flush=True)
                continue
            row = in_its_own_process(bench, "build", kind, flags.threads)
            row |= in_its_own_process(bench, "search", kind, flags.threads)
            kinds[kind] = row
            print(
                f"{kind:<30} {row['seconds']:>8.0f} {row['build_mb']:>9,.0f} {row['file_mb']:>8,.0f} "
                f"{row['load_mb']:>9,.0f} {row['parameter'] or 'all':>8} {row['recall']:>9.4f} "
                f"{row['p50']:>8.2f} {row['p95']:>8.2f}",
                flush=True,
            )
            for one in row.get("filters", []):
                print(
                    f"    as served, {LIMIT} products, {one['filter']:<34} recall@10 {one['recall']:.4f} "
                    f"p50 {one['p50']:.2f} p95 {one['p95']:.2f} ms, at least {one['fewest']} found",
                    flush=True,
                )
        if flags.json:
            flags.json.parent.mkdir(parents=True, exist_ok=True)
            flags.json.write_text(json.dumps({"vectors": flags.vectors, "kinds": kinds}, indent=2) + "\n")


if __name__ == "__main__":
    main()
