"""
Replay: two rankings of the answers that users followed up, compared by their clicks.

``python -m training.replay serve.yaml other.yaml`` compares two sets of weights, ``--cf VERSION VERSION`` two versions
of ``collaborative`` too; `shortlist replay` starts it. It reads, and changes nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.factors import Factors
from artifacts.store import ROOT_VARIABLE, ArtifactStore
from evaluation.click_metrics import NAMES
from evaluation.click_model import MOST_BIAS, fit_click_model
from evaluation.logged_answers import LoggedAnswers
from evaluation.replay import CAVEATS, Compared, compare_parts
from evaluation.replayed_cf import cf_by, unseen_by
from ranking.config import RankingConfig
from training.answer_log import DAYS, EVENTS, FOLLOWING_HOURS, MOST_ANSWERS, answers_of, read_answers
from training.arguments import run_job, store_at, whole
from training.errors import NothingToTrainOn, WrongInput
from training.ranking_file import DEFAULT_SERVE_FILE, ranking_config

FACTORS_CAVEAT = (
    "`cf` is made anew from each version's own user and item factors. Serving folds in what a user did since they were "
    "trained; this does not. Answers that a version may have learned from are left out."
)


@dataclass(frozen=True)
class Ranking:
    """One of the two: a configuration, and a collaborative version where ``cf`` is made anew."""

    name: str
    config: RankingConfig
    cf: str | None = None

    def document(self) -> dict[str, object]:
        """What it is called, and its versions."""
        return {"name": self.name, "weights": self.config.version, "cf": self.cf}


@dataclass(frozen=True)
class Replay:
    """What came of both."""

    rankings: tuple[Ranking, Ranking]
    position_bias: float
    parts: list[Compared]
    left_out: int
    caveats: tuple[str, ...]

    def document(self) -> dict[str, object]:
        """All there is to know."""
        return {
            "first": self.rankings[0].document(),
            "second": self.rankings[1].document(),
            "position_bias": self.position_bias,
            "answers_left_out": self.left_out,
            "parts": [asdict(part) for part in self.parts],
            "caveats": list(self.caveats),
        }


def replay(
    answers: LoggedAnswers,
    rankings: tuple[Ranking, Ranking],
    *,
    store: ArtifactStore | None = None,
    position_bias: float | None = None,
) -> Replay:
    """
    Order *answers* by both *rankings* and compare them.

    Args:
        answers: As logged.
        rankings: Where one names a collaborative version, both do.
        store: Where those versions lie.
        position_bias: Eta of ``rank ** -eta``; None: fitted to the answers.

    Raises:
        NothingToTrainOn: no answer is left to compare by.
        ArtifactError: a version is missing or does not load.
    """
    telling = answers.only(answers.sizes > 1)
    if not telling.clicked.any():
        raise NothingToTrainOn("No answer of more than one hit has a click; there is nothing to compare by.")
    if position_bias is None:
        position_bias = fit_click_model(telling, rankings[0].config).position_bias
    logged = [telling, telling]
    caveats = CAVEATS
    if store is not None and rankings[0].cf and rankings[1].cf:
        versions = [ranking.cf or "" for ranking in rankings]
        manifests = [store.manifest("collaborative", version) for version in versions]
        telling = telling.only(unseen_by(telling, *manifests))
        if not telling.clicked.any():
            raise NothingToTrainOn(
                "No answer with a click was shown after both versions' data end. Compare versions that were trained "
                "before the answers were shown, or wait for answers."
            )
        logged = [
            telling.with_cf(cf_by(telling, Factors.load(store.fetch("collaborative", version), manifest), manifest))
            for version, manifest in zip(versions, manifests, strict=True)
        ]
        caveats = (*CAVEATS, FACTORS_CAVEAT)
    first, second = (each.ranked_by(ranking.config) for each, ranking in zip(logged, rankings, strict=True))
    parts = compare_parts(telling, first, second, position_bias=position_bias)
    return Replay(rankings, position_bias, parts, len(answers) - len(telling), caveats)


def as_text(replayed: Replay) -> str:
    """Return a table: a row a part and metric, both rankings beside each other, and what to keep in mind."""
    names = [
        f"{each.name} (weights {each.config.version}{f', cf {each.cf}' if each.cf else ''})"
        for each in replayed.rankings
    ]
    told = [f"first:  {names[0]}", f"second: {names[1]}"]
    told.append(
        f"position bias {replayed.position_bias:.2f}; {replayed.left_out} answers left out\n"
        f"{'':28} {'clicks':>8}  {'first':>7}  {'second':>7}  difference (95 % interval over users)"
    )
    for part in replayed.parts:
        for label, figures in (("", part.weighted), (" plain", part.plain)):
            for name in NAMES:
                figure = figures[name]
                off = figure.difference
                told.append(
                    f"{f'{part.part[:12]} {name}{label}':28} {part.clicks:>8,}  {figure.first.mean:7.4f}  "
                    f"{figure.second.mean:7.4f}  {off.mean:+.4f} ({off.low:+.4f} to {off.high:+.4f})"
                )
        told.append(
            f"{part.part[:12]:28} {'':8}  overlap@10 {part.overlap_at_10:.3f}, overlap@3 {part.overlap_at_3:.3f}, "
            f"rank correlation {part.rank_correlation:.3f}"
        )
    return "\n".join([*told, *replayed.caveats])


def run(flags: argparse.Namespace) -> None:
    """Read what the flags name, replay and tell."""
    files = (flags.first, flags.second or flags.first)
    if flags.cf is None and flags.second is None:
        raise WrongInput("There is one ranking; name a second file, or two versions with --cf")
    versions = flags.cf or (None, None)
    rankings = tuple(
        Ranking(str(path), ranking_config(path), version) for path, version in zip(files, versions, strict=True)
    )
    if flags.cf and not flags.root:
        raise WrongInput(f"--cf needs the artifacts' place: --root or {ROOT_VARIABLE}")
    table = read_answers(
        flags.answers, _types(flags.events), days=flags.days, hours=flags.following_hours, most=flags.most_answers
    )
    if flags.save:
        _save(table, flags.save)
    print(f"replaying {table.num_rows:,} hits", file=sys.stderr, flush=True)
    replayed = replay(
        answers_of(table),
        (rankings[0], rankings[1]),
        store=store_at(flags.root) if flags.cf else None,
        position_bias=flags.position_bias,
    )
    print(json.dumps(replayed.document()) if flags.json else as_text(replayed), flush=True)


def _types(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _save(table: pa.Table, path: Path) -> None:
    try:
        pq.write_table(table, path)
    except OSError as error:
        raise WrongInput(f"--save: {path} cannot be written: {error}") from error


def _bias(text: str) -> float:
    value = float(text)
    if not 0 <= value <= MOST_BIAS:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to {MOST_BIAS:g}")
    return value


def main() -> None:
    """Read the flags and replay."""
    parser = argparse.ArgumentParser(
        prog="python -m training.replay",
        description="Compare two rankings by the clicks on logged answers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Answers and events are read from SHORTLIST_REPLICA_URLS, else from SHORTLIST_DATABASE_URL.",
    )
    parser.add_argument("first", type=Path, nargs="?", default=DEFAULT_SERVE_FILE, help="Serve file, or ranking.yaml")
    parser.add_argument("second", type=Path, nargs="?", help="the other one")
    parser.add_argument(
        "--cf", nargs=2, metavar="VERSION", help="versions of collaborative, for the first and the second"
    )
    parser.add_argument("--root", default=os.environ.get(ROOT_VARIABLE) or None, help="artifact root")
    parser.add_argument("--answers", type=Path, help="read a parquet log of answers instead of the database")
    parser.add_argument("--save", type=Path, help="write what was read as a parquet log of answers")
    parser.add_argument("--events", default=",".join(EVENTS), help="event types that count as a click")
    parser.add_argument("--days", type=whole, default=DAYS, help="days to look back from the newest event of an answer")
    parser.add_argument(
        "--following-hours", type=whole, default=FOLLOWING_HOURS, help="an event belongs to an answer within so many"
    )
    parser.add_argument(
        "--most-answers",
        type=whole,
        default=MOST_ANSWERS,
        help="most answers to read; of more a sample",
    )
    parser.add_argument("--position-bias", type=_bias, help="eta of rank ** -eta; fitted if not given")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    flags = parser.parse_args()
    run_job(lambda: run(flags))


if __name__ == "__main__":
    main()
