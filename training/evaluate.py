"""
How good the catalogue's recommendations are: ``python -m training.evaluate``; `shortlist evaluate` starts it.

Models are fitted to the events before a cut and asked for those after it. The stack at ``--url`` is asked over HTTP,
and its answers stand beside those of the same version of ``collaborative`` offline. It reads, and changes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.factors import Factors
from artifacts.manifest import Manifest
from evaluation.agreement import Agreement
from evaluation.baselines import ItemKnnRecommender, bpr
from evaluation.recommendation import Estimate, evaluate
from evaluation.recommenders import FactorRecommender, PopularityRecommender, RandomRecommender, Recommender
from evaluation.report import Comparison
from evaluation.segments import segments
from evaluation.served import NotServed
from evaluation.served_report import ServedReport
from evaluation.shop import NotReady
from storage.settings import StorageSettings
from training.als import AlsSettings, fit_factors
from training.arguments import add_root, plain_parser, require_writable, run_job, share, store_at, whole
from training.collaborative_data import TrainingData, read_data
from training.errors import NothingToTrainOn, WrongInput
from training.holdout import Holdout, HoldoutRule
from training.past_stack import served_from_the_past
from training.queries import QUERIES
from training.reading import reading
from training.served_check import asked, compared, users_to_ask
from training.snapshot_reading import open_snapshot

REFITTED = "collaborative, fitted anew"


def run(flags: argparse.Namespace) -> ServedReport:
    """Read what the flags name, evaluate, and return what came of it."""
    if flags.second_stack and (not flags.snapshot or flags.holdout != "time"):
        raise WrongInput("--second-stack loads a --snapshot up to the cut in time: name one, such as latest")
    store = store_at(flags.root)
    version = store.active_version("collaborative")
    if version is None:
        raise NothingToTrainOn("No version of collaborative is in use. Train one: shortlist train collaborative.")
    manifest = store.manifest("collaborative", version)
    _tell(f"reading {flags.snapshot or 'events'}")
    data = read_data(None, root=flags.root, snapshot=flags.snapshot)
    rule = HoldoutRule(flags.holdout, flags.holdout_share)
    holdout = rule.cut(data.interactions)
    if holdout is None:
        raise NothingToTrainOn("No user has events on both sides of the cut. Take another --holdout-share.")
    quality = _offline(data, holdout, manifest, flags)
    agreement: Agreement | None = None
    gained: Estimate | None = None
    if flags.second_stack:
        agreement, gained = served_from_the_past(
            data, open_snapshot(flags.root, flags.snapshot), holdout, quality, flags
        )
    elif flags.url:
        factors = Factors.load(store.fetch("collaborative", version), manifest)
        everybody = np.arange(len(data.interactions.user_ids))
        users = users_to_ask(data.interactions, factors, everybody, flags.users)
        _tell(f"asking {flags.url} for {len(users)} users")
        lists = asked(flags.url, data.interactions, None, factors, users)
        agreement = compared(lists, factors, manifest, _unavailable(flags))
    return ServedReport(quality, agreement, gained)


def _offline(data: TrainingData, holdout: Holdout, manifest: Manifest, flags: argparse.Namespace) -> Comparison:
    """Every model by what it finds of what was withheld."""
    settings = AlsSettings(**manifest.parameters["als"])
    models: dict[str, Any] = {
        "random": lambda: RandomRecommender(holdout.known.shape[1]),
        "popularity": lambda: PopularityRecommender(holdout.known),
        REFITTED: lambda: FactorRecommender(*fit_factors(holdout.known, settings)),
    }
    if flags.baselines:
        models |= {"item-kNN": lambda: ItemKnnRecommender(holdout.known), "BPR": lambda: bpr(holdout.known)}
    parts = segments(holdout.known)
    cut = {"time": "the latest", "last": "the last of each user's", "random": "a random"}[flags.holdout]
    comparison = Comparison(
        data=f"{data.source or 'The catalogue'}: {cut} {flags.holdout_share:.0%} of the interactions withheld, "
        f"{len(holdout.users):,} users asked, {holdout.known.nnz:,} known, {holdout.wanted.nnz:,} withheld",
        evaluations={},
        of_ours=REFITTED,
        notes={
            "settings": f"those of version {manifest.version}: "
            + ", ".join(f"{name} {value:g}" for name, value in manifest.parameters["als"].items()),
            "left out": "users of whom nothing is known before the cut",
        },
    )
    for name, made in models.items():
        _tell(f"evaluating {name}")
        recommender: Recommender = made()
        comparison.evaluations[name] = evaluate(
            recommender, holdout.known, holdout.wanted, users=holdout.users, parts=parts
        )
    return comparison


def _unavailable(flags: argparse.Namespace) -> list[str]:
    """The products that are hidden or out of stock."""
    if flags.snapshot:
        return open_snapshot(flags.root, flags.snapshot).unavailable()

    async def read() -> list[str]:
        async with reading(StorageSettings.from_environment()) as connection:
            return [row["id"] for row in await connection.fetch(QUERIES["unavailable_products"])]

    return asyncio.run(read())


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> None:
    """Read the flags and evaluate."""
    parser = plain_parser("training.evaluate", "Evaluate the catalogue's recommendations, offline and as served.")
    add_root(parser)
    parser.add_argument("--url", default=os.environ.get("SHORTLIST_URL"), help="where the stack answers; none: offline")
    parser.add_argument("--snapshot", help="read this snapshot instead of Postgres: latest, a version, or a directory")
    parser.add_argument("--holdout", choices=["time", "last", "random"], default="time", help="what is withheld")
    parser.add_argument("--holdout-share", type=share, default=0.2, help="how much of it")
    parser.add_argument("--users", type=whole, default=200, help="most users asked for over HTTP")
    parser.add_argument("--baselines", action="store_true", help="item-kNN and BPR too")
    parser.add_argument(
        "--second-stack",
        action="store_true",
        help="start a local stack that knows only what came before the cut, and score what it serves",
    )
    parser.add_argument("--out", type=Path, default=Path("reports"), help="where the report is written")
    parser.add_argument(
        "--strict", action="store_true", help="exit code 1 where the served path is not what it should be"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    flags = parser.parse_args()

    def job() -> None:
        require_writable(flags.out, "--out")
        try:
            report = run(flags)
        except (NotServed, NotReady) as error:
            sys.exit(f"{type(error).__name__}: {error}")
        paths = report.write(flags.out, "recommendations")
        written = [str(path) for path in paths]
        print(json.dumps(report.document() | {"written": written}) if flags.json else report.text())
        if not flags.json:
            print("\n".join(written))
        if flags.strict and report.faults():
            sys.exit("The served path is not what its version says, and --strict was given.")

    run_job(job)


if __name__ == "__main__":
    main()
