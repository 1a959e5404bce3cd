"""
The quality and the cost of the collaborative job, in one table: ``python -m evaluation.collaborative``.

Each data set is cut, the job trains on what is known, on a Ray cluster of its own, and its factors are asked for the
rest; beside them popularity, random, item-kNN, BPR and published figures, and implicit's own fit with equal parameters.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from artifacts.factors import Factors
from artifacts.manifest import Manifest
from artifacts.store import ArtifactStore
from evaluation.bare_fit import MOST_TIMES_BARE, bare_fit
from evaluation.baselines import baselines
from evaluation.data_sets import DATA_SETS, DataSet
from evaluation.metrics import SparseMatrix
from evaluation.recommendation import Evaluation, evaluate
from evaluation.recommenders import FactorRecommender, Recommender
from evaluation.report import Comparison, as_text, write
from evaluation.segments import Segment, segments
from evaluation.training_cluster import TrainingCluster, training_cluster

OURS = "ALS (the job)"
SETTINGS = Path(__file__).parent / "settings"
_MIB = 1 << 20


def compare(data_set: DataSet, cluster: TrainingCluster, arguments: list[str], *, cpus: int, bare: bool) -> Comparison:
    """
    Train and evaluate on one data set.

    Args:
        data_set: Cut already.
        cluster: Where the job runs.
        arguments: Further flags of the job; they win over those of the data set's file below `SETTINGS`.
        cpus: Of the job's worker, and of everything else.
        bare: Whether to measure implicit's own fit too.
    """
    settings = SETTINGS / f"{data_set.name}.yaml"
    with tempfile.TemporaryDirectory(prefix="shortlist-evaluation-") as directory:
        path = Path(directory) / "train.parquet"
        data_set.write(path)
        flags = [f"--interactions={path}", f"--root={directory}/artifacts", f"--config={settings}", f"--cpus={cpus}"]
        said, seconds = cluster.run("training.collaborative", [*flags, *arguments], show=True)
        store = ArtifactStore(f"{directory}/artifacts")
        manifest = store.manifest("collaborative", said["version"])
        factors = Factors.load(store.fetch("collaborative", said["version"]), manifest)
    known, wanted = data_set.matrices(factors.user_ids, factors.item_ids)
    parts = segments(known)
    comparison = Comparison(
        data=f"{data_set.title}: {known.shape[0]:,} users, {known.shape[1]:,} items, {known.nnz:,} known",
        evaluations={},
        published=data_set.published,
        targets=data_set.targets,
        of_ours=OURS,
        notes=_cost(manifest, seconds),
        seconds={"whole job": round(seconds, 1), "fit": manifest.parameters["workers"][0]["fit_seconds"]},
    )
    model = FactorRecommender(factors.user_factors, factors.item_factors, threads=cpus)
    comparison.evaluations[OURS] = _evaluated(OURS, model, known, wanted, parts)
    del model, factors
    if bare:
        alone = bare_fit(known, manifest.parameters["als"], threads=cpus)
        worker = manifest.parameters["workers"][0]
        comparison.notes |= _beside(alone, worker)
        comparison.ratios = {
            f"{what} / implicit alone": round(ratio, 3) for what, ratio in _times_bare(alone, worker).items()
        }
    for name, recommender in baselines(known, threads=cpus):
        comparison.evaluations[name] = _evaluated(name, recommender, known, wanted, parts)
    return comparison


def _evaluated(
    name: str, recommender: Recommender, known: SparseMatrix, wanted: SparseMatrix, parts: list[Segment]
) -> Evaluation:
    """What came of a recommender, said at once."""
    began = time.monotonic()
    found = evaluate(recommender, known, wanted, parts=parts)
    recall, ndcg = (found.metrics[metric].mean for metric in ("recall_at_20", "ndcg_at_20"))
    print(f"    {name}: Recall@20 {recall:.4f}, NDCG@20 {ndcg:.4f} in {time.monotonic() - began:.0f} s", flush=True)
    return found


def _cost(manifest: Manifest, seconds: float) -> dict[str, Any]:
    als = manifest.parameters["als"]
    worker = manifest.parameters["workers"][0]
    return {
        "settings": ", ".join(f"{name} {value:g}" for name, value in als.items()),
        "whole job": f"{seconds:.0f} s",
        "fit in the worker": f"{worker['fit_seconds']:.1f} s, {worker['bytes_at_peak'] / _MIB:.0f} MiB at its peak",
    }


def _times_bare(alone: dict[str, float], worker: dict[str, Any]) -> dict[str, float]:
    """What the worker took in units of what implicit took."""
    added, added_alone = (each["bytes_at_peak"] - each["bytes_before"] for each in (worker, alone))
    return {
        "time of the fit": worker["fit_seconds"] / alone["seconds"],
        "processor time of the fit": worker["fit_cpu_seconds"] / alone["cpu_seconds"],
        "memory of the process": worker["bytes_at_peak"] / alone["bytes_at_peak"],
        "memory added by the fit": added / added_alone,
    }


def _beside(alone: dict[str, float], worker: dict[str, Any]) -> dict[str, Any]:
    ratios = ", ".join(f"{what} {ratio:.2f}" for what, ratio in _times_bare(alone, worker).items())
    return {
        "implicit alone": f"{alone['seconds']:.1f} s, {alone['bytes_at_peak'] / _MIB:.0f} MiB at its peak",
        "worker / implicit alone": f"{ratios}; the aim is {MOST_TIMES_BARE}",
        "held before": f"{worker['bytes_before'] / _MIB:.0f} MiB by the worker, "
        f"{alone['bytes_before'] / _MIB:.0f} MiB by Python alone",
    }


def main() -> None:
    """Measure, print and write the report; exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.collaborative", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="DATA SET", help=f"of {', '.join(DATA_SETS)}; all by default")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="where the report is written")
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1, help="of the job's worker")
    parser.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), help="of a running training cluster")
    parser.add_argument("--no-bare", dest="bare", action="store_false", help="leave implicit's own fit out")
    flags, arguments = parser.parse_known_args()
    unknown = set(flags.names) - set(DATA_SETS)
    if unknown:
        parser.error(f"no data set is called {', '.join(sorted(unknown))}")
    if not flags.data.is_dir():
        sys.exit(f"{flags.data} is not there: the data sets are not part of the project; say where with --data.")
    comparisons = []
    with training_cluster(cpus=flags.cpus, address=flags.address) as cluster:
        for name in flags.names or DATA_SETS:
            print(f"{name}:", flush=True)
            data_set = DATA_SETS[name](flags.data)
            comparisons.append(compare(data_set, cluster, arguments, cpus=flags.cpus, bare=flags.bare))
    print(f"\n{as_text(comparisons)}\n")
    for path in write(comparisons, flags.out, "collaborative"):
        print(path)
    sys.exit(int(any(missed(comparison) for comparison in comparisons)))


def missed(comparison: Comparison) -> list[str]:
    """The metrics that stay below their target."""
    found = comparison.evaluations[comparison.of_ours].metrics
    return [name for name, least in comparison.targets.items() if found[name].mean < least]


if __name__ == "__main__":
    main()
