"""
The collaborative job: events in, user and item factors out.

Run it as ``ray job submit ... -- python -m training.collaborative``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from artifacts.event_weights import weights_in_manifest
from artifacts.factors import Factors
from artifacts.manifest import ArtifactKind, ManifestDraft, new_version
from evaluation.metrics import MEASURES
from training.als import AlsSettings
from training.arguments import (
    add_runs,
    add_snapshot,
    duration,
    fraction,
    job_parser,
    positive,
    require_writable,
    run_job,
    runs_at,
    seed,
    store_at,
    whole,
)
from training.cf_transform import cf_transform
from training.collaborative_data import TrainingData, read_data
from training.config_file import parsed_flags
from training.errors import WrongInput
from training.factor_job import FittedFactors, fitted, measured
from training.holdout import KINDS, HoldoutRule
from training.progress import Stopwatch, conclude, say
from training.publication import parent_of, put_into_use
from training.run import connect, need_cpus, remove_run
from training.tuning import SearchSpace, Trial, as_table, search
from training.up_to_date import MADE_FROM, current, made_from

KIND: ArtifactKind = "collaborative"
SEARCH_LOG = "search.json"


def train(flags: argparse.Namespace, space: SearchSpace) -> None:
    """Train, publish and activate one ``collaborative`` version."""
    require_writable(flags.root)
    store, watch, version = store_at(flags.root), Stopwatch(), new_version()
    runs = runs_at(flags.root, flags.runs, KIND)
    search_run = f"{version}-search"
    settings = AlsSettings(flags.factors, flags.alpha, flags.regularization, flags.iterations, flags.seed)
    say(f"{KIND} {version}: reading {flags.interactions or flags.snapshot or 'events'}")
    data = read_data(flags.interactions, root=flags.root, snapshot=flags.snapshot)
    origin = made_from(data.digest(), flags)
    if flags.if_changed and (unchanged := current(store, KIND, origin)):
        say(f"nothing changed since {unchanged.version}, which stays in use")
        conclude(unchanged, changed=False)
        return
    rule = HoldoutRule(flags.holdout, flags.holdout_share, flags.seed).settled(data.interactions)
    watch.lap("read")
    connect()
    need_cpus(max(flags.workers, 1) * flags.cpus)
    holdout = rule.cut(data.interactions)
    log: list[Trial] = []
    metrics: dict[str, float] = {}
    if holdout is not None:
        if flags.tune:
            settings, log = search(
                holdout,
                settings,
                space,
                trials=flags.tune,
                metric=flags.tune_metric,
                cpus=flags.cpus,
                storage=runs,
                name=search_run,
            )
            print(as_table(log), flush=True)
        say(f"measuring on {len(holdout.users)} users, of whom some interactions are withheld")
        tried = {name: log[0][name] for name in MEASURES} if log else None
        metrics = measured(holdout, settings, tried, learned=flags.baselines, cpus=flags.cpus)
    elif flags.tune:
        raise WrongInput("There is no hold-out to search settings on: take another --holdout, or more data.")
    del holdout
    watch.lap("holdout")
    say(f"fitting {settings.factors} factors to {len(data.interactions)} interactions, {flags.workers} worker(s)")
    with fitted(
        data.interactions,
        settings,
        version=version,
        runs=runs,
        workers=flags.workers,
        cpus=flags.cpus,
        checkpoint_every_s=flags.checkpoint_every,
    ) as (directory, fit):
        watch.lap("run")
        transform, saturated = _saved(directory, data, fit, settings, log)
        draft = ManifestDraft(
            kind=KIND,
            version=version,
            dim=settings.factors,
            metric="dot",
            counts={
                "users": len(data.interactions.user_ids),
                "items": len(data.interactions.item_ids),
                "interactions": len(data.interactions),
            },
            parameters={
                "als": settings.as_parameters(),
                "event_weights": None if data.event_counts is None else weights_in_manifest(),
                "interactions": {"source": data.source, "sha256": data.interactions.digest()},
                MADE_FROM: origin,
                "cf_transform": transform,
                "holdout": rule.as_parameters(),
                "search": {"trials": len(log), "metric": flags.tune_metric, "log": SEARCH_LOG} if log else None,
                "workers": fit.workers,
            },
            data_window=data.window,
            metrics=metrics | {"cf_saturated": saturated},
            parent=parent_of(store, KIND),
            seconds=watch.seconds | {"fit": max(worker["seconds"] for worker in fit.workers)},
        )
        manifest = store.publish(directory, draft)
    for run in (version, search_run):
        remove_run(runs, run)
    put_into_use(store, manifest, flags)
    conclude(manifest)


def _saved(
    directory: Path, data: TrainingData, fit: FittedFactors, settings: AlsSettings, log: list[Trial]
) -> tuple[dict[str, Any], float]:
    """Write the files of a version; return the transform of ``cf``, and how much of it is saturated."""
    Factors(
        data.interactions.user_ids,
        data.interactions.item_ids,
        fit.users,
        fit.items,
        regularization=settings.regularization,
        alpha=settings.alpha,
        event_counts=data.event_counts,
    ).save(directory)
    if log:
        (directory / SEARCH_LOG).write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")
    return cf_transform(fit.users, fit.items, seed=settings.seed)


def main() -> None:
    """Read the flags and run the job."""
    defaults = AlsSettings()
    parser = job_parser("training.collaborative", "Train user and item factors by implicit ALS.")
    add_runs(parser)
    parser.add_argument("--interactions", help="parquet file or directory to read instead of the events in Postgres")
    add_snapshot(parser)
    parser.add_argument("--factors", type=whole, default=defaults.factors, help="dimension of the factors")
    parser.add_argument("--alpha", type=positive, default=defaults.alpha, help="weight of a confidence of 1")
    parser.add_argument("--regularization", type=positive, default=defaults.regularization, help="lambda")
    parser.add_argument("--iterations", type=whole, default=defaults.iterations, help="rounds of alternation")
    parser.add_argument("--seed", type=seed, default=defaults.seed, help="start of the random numbers")
    parser.add_argument("--workers", type=whole, default=1, help="processes that share the fit, on any nodes")
    parser.add_argument("--cpus", type=whole, default=2, help="CPUs of a worker, and of a trial")
    parser.add_argument("--checkpoint-every", type=duration, default=60.0, help="least seconds between two checkpoints")
    parser.add_argument("--holdout", choices=KINDS, default="last", help="which interactions the figures are about")
    parser.add_argument("--holdout-share", type=fraction, default=0.2, help="how much of them")
    parser.add_argument("--baselines", action="store_true", help="also fit item-kNN and BPR to the hold-out's rest")
    parser.add_argument("--tune", type=whole, metavar="TRIALS", help="search the settings on the hold-out first")
    parser.add_argument("--tune-metric", choices=list(MEASURES), default="ndcg_at_20", help="what the search looks at")
    flags = parsed_flags(parser, sections=["search"])
    try:
        space = SearchSpace.model_validate(flags.search or {})
    except ValidationError as error:
        parser.error(f"search: {error}")
    if flags.interactions and flags.snapshot:
        parser.error("--interactions and --snapshot exclude each other")
    run_job(lambda: train(flags, space))


if __name__ == "__main__":
    main()
