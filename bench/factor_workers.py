"""
What each worker of a shared fit holds, and how long the fit takes: ``python -m bench.factor_workers``.

Made-up interactions, the same for every number of workers. Each worker has one CPU, so on a machine with fewer CPUs
than workers the seconds say nothing about more machines; the memory does.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.factors import Factors
from artifacts.store import ArtifactStore
from evaluation.training_cluster import TrainingCluster, training_cluster

_MIB = 1 << 20
_ROWS_AT_ONCE = 2_000_000


def write_interactions(path: Path, *, users: int, items: int, count: int, seed: int = 0) -> None:
    """Write *count* pairs, fewer where one comes twice; items are popular by Zipf's law."""
    generator = np.random.default_rng(seed)
    weights = 1 / np.arange(1, items + 1)
    ends = np.cumsum(weights) / weights.sum()
    user_ids = pa.array([f"user-{number}" for number in range(users)])
    item_ids = pa.array([f"item-{number}" for number in range(items)])
    schema = pa.schema({"user_id": pa.string(), "product_id": pa.string()})
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, count, _ROWS_AT_ONCE):
            some = min(_ROWS_AT_ONCE, count - start)
            drawn = np.searchsorted(ends, generator.random(some)).clip(max=items - 1)
            columns = [user_ids.take(pa.array(generator.integers(0, users, some))), item_ids.take(pa.array(drawn))]
            writer.write_table(pa.table(columns, schema=schema))


def measured(cluster: TrainingCluster, path: Path, directory: Path, workers: int, flags: list[str]) -> dict[str, Any]:
    """Run the job with so many workers; return what they held, and the factors."""
    root = directory / f"artifacts-{workers}"
    said, seconds = cluster.run(
        "training.collaborative",
        [f"--interactions={path}", f"--root={root}", "--holdout=none", f"--workers={workers}", "--cpus=1", *flags],
    )
    store = ArtifactStore(str(root))
    found = store.manifest("collaborative", said["version"]).parameters["workers"]
    factors = Factors.load(store.fetch("collaborative", said["version"]))
    return {"workers": found, "factors": (factors.user_factors, factors.item_factors), "job": seconds}


def row(count: int, found: dict[str, Any], first: dict[str, Any]) -> str:
    """A line of the table."""
    workers = found["workers"]
    share = max(each["interactions"]["users"] + each["interactions"]["items"] for each in workers)
    own = max(each["bytes_at_peak"] - each["bytes_before"] for each in workers) / _MIB
    peak = max(each["bytes_at_peak"] for each in workers) / _MIB
    apart = max(
        float(np.abs(ours - one).max() / np.abs(one).max())
        for ours, one in zip(found["factors"], first["factors"], strict=True)
    )
    fit = max(each["seconds"] for each in workers)
    return f"| {count} | {share / 2:,.0f} | {own:,.0f} | {peak:,.0f} | {fit:.1f} | {found['job']:.0f} | {apart:.1e} |"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.factor_workers", description=__doc__)
    parser.add_argument("--workers", default="1,2,4", help="numbers of workers")
    parser.add_argument("--users", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--interactions", type=int, default=20_000_000)
    parser.add_argument("--factors", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=2)
    flags = parser.parse_args()
    counts = [int(each) for each in flags.workers.split(",")]
    with (
        tempfile.TemporaryDirectory(prefix="shortlist-workers-") as name,
        training_cluster(cpus=max(counts), store_bytes=1_000_000_000) as cluster,
    ):
        path = Path(name) / "interactions.parquet"
        write_interactions(path, users=flags.users, items=flags.items, count=flags.interactions)
        print(f"{flags.users:,} users, {flags.items:,} items, {flags.interactions:,} events, {flags.factors} factors\n")
        print("| workers | interactions of one | its own MiB at peak | process MiB | fit s | job s | differs by |")
        print("|---|---|---|---|---|---|---|")
        first: dict[str, Any] | None = None
        for count in counts:
            settings = [f"--factors={flags.factors}", f"--iterations={flags.iterations}"]
            found = measured(cluster, path, Path(name), count, settings)
            first = first or found
            print(row(count, found, first), flush=True)
        # Of the processes that have ended: the jobs.
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"\nThe job itself, which reads and cuts: {most:,.0f} MiB at most, shared pages included.")


if __name__ == "__main__":
    main()
