"""
The weights job: ranking weights, for all products and by category, from what users clicked of what they were shown.

It fits on the older answers, and keeps what it found only if the newer ones say that it is better than the present
weights. It deploys nothing: it writes a Serve file that an operator deploys. Run it as ``python -m training.weights``,
or as a Ray job; it needs no cluster.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from artifacts.manifest import new_version
from artifacts.places import below
from artifacts.store import ROOT_VARIABLE
from evaluation.click_model import fit_click_model
from evaluation.holdout import after_a_time
from evaluation.logged_answers import LoggedAnswers
from evaluation.replay import clicked_categories, compare, in_category
from ranking.config import RankingConfig
from training.answer_log import DAYS, EVENTS, FOLLOWING_HOURS, MOST_ANSWERS, answers_of, read_answers
from training.arguments import positive, require_writable, run_job, share, whole
from training.config_file import parsed_flags
from training.errors import NothingToTrainOn
from training.progress import Stopwatch, say
from training.ranking_file import DEFAULT_SERVE_FILE, ranking_config
from training.weights_report import WeightsReport, explained_sets, lines, verdict
from training.weights_result import (
    conclude,
    conclude_skipped,
    conclude_unchanged,
    made_from,
    store_result,
    unchanged,
)

LEAST_HELD_OUT = 50
"""Clicks without which the newer answers say nothing."""


def fit_weights(
    answers: LoggedAnswers,
    present: RankingConfig,
    *,
    holdout: float = 0.2,
    least_clicks: int = 300,
    caution: float = 100.0,
) -> WeightsReport:
    """
    Fit weights on the older of *answers* and judge them by the newer ones.

    Args:
        answers: As logged; those of one product say nothing and are left out.
        present: The configuration in use.
        holdout: The share of the answers, the newest, that judge.
        least_clicks: Clicks in the older answers without which a category has the weights of all.
        caution: See `evaluation.click_model.fit_click_model`.

    Raises:
        NothingToTrainOn: too few clicks to fit, or to judge by.
    """
    telling = answers.only(answers.sizes > 1)
    newer = after_a_time(telling.shown_at, share=holdout)
    learned, judged = telling.only(~newer), telling.only(newer)
    clicks, held_out = int(learned.clicked.sum()), int(judged.clicked.sum())
    if clicks < least_clicks or held_out < LEAST_HELD_OUT:
        raise NothingToTrainOn(
            f"{clicks} clicks in the older answers and {held_out} in the newer ones are too few: {least_clicks} "
            f"(--least-clicks) and {LEAST_HELD_OUT} are needed at least. Wait for more, or look further back (--days)"
        )
    categories = sorted(clicked_categories(learned, least=least_clicks))
    before = fit_click_model(learned, present, fixed=True)
    after = fit_click_model(learned, present, categories=categories, caution=caution)
    first, second = judged.ranked_by(present), judged.ranked_by(after.config)
    bias = after.position_bias
    overall = compare(judged, first, second, position_bias=bias)
    kept, why = verdict(overall)
    return WeightsReport(
        kept=kept,
        why=why,
        present=present,
        fitted=after.config,
        position_bias=bias,
        steepness=after.steepness,
        split_at=float(learned.shown_at.max()),
        counts={
            "answers": len(telling),
            "clicks": clicks + held_out,
            "clicks_learned_from": clicks,
            "clicks_judged_by": held_out,
            "categories": len(categories),
        },
        sets=explained_sets(learned, before, after),
        overall=overall,
        by_category=[
            compare(judged, first, second, position_bias=bias, part=name, clicks=in_category(judged, name))
            for name in categories
        ],
    )


def train(flags: argparse.Namespace) -> None:
    """Read, fit, judge, tell, and store what came of it."""
    watch = Stopwatch()
    try:
        _train(flags, watch)
    except NothingToTrainOn as error:
        if not flags.if_enough:
            raise
        say(f"nothing is fitted: {error}")
        conclude_skipped(str(error), watch.seconds)


def _train(flags: argparse.Namespace, watch: Stopwatch) -> None:
    require_writable(flags.out or flags.root)
    present = ranking_config(flags.serve_file)
    say(f"weights: present ones {present.version} of {flags.serve_file}")
    events = tuple(each.strip() for each in flags.events.split(",") if each.strip())
    table = read_answers(flags.answers, events, days=flags.days, hours=flags.following_hours, most=flags.most_answers)
    answers = answers_of(table)
    watch.lap("read")
    say(f"{len(answers):,} answers with {int(answers.clicked.sum()):,} clicks among {len(answers.clicked):,} hits")
    above = flags.out or below(flags.root, "weights")
    origin = made_from(answers, flags.serve_file, _settings(flags))
    if flags.if_changed and not flags.out and (last := unchanged(above, origin)):
        say(f"nothing changed since {last['version']}: {last['why']}")
        conclude_unchanged(last, below(above, last["version"]), watch.seconds)
        return
    report = fit_weights(
        answers,
        present,
        holdout=flags.holdout,
        least_clicks=flags.least_clicks,
        caution=flags.caution,
    )
    watch.lap("fit")
    for line in lines(report):
        say(line)
    version = new_version()
    where = flags.out or below(above, version)
    files = store_result(where, version, report, flags.serve_file, settings=_settings(flags), origin=origin)
    say(f"wrote {', '.join(files)}")
    if report.kept:
        say(f"to use them: serve deploy {below(where, 'serve.yaml')}")
    watch.lap("store")
    conclude(version, report, where, watch.seconds)


def job_flags() -> argparse.ArgumentParser:
    """The flags of the job."""
    parser = argparse.ArgumentParser(
        prog="python -m training.weights",
        description="Fit the ranking weights on what users clicked of what they were shown; keep them only if better.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Answers and events are read from SHORTLIST_REPLICA_URLS, else from SHORTLIST_DATABASE_URL.",
    )
    root = os.environ.get(ROOT_VARIABLE) or None
    parser.add_argument("--root", default=root, help=f"artifact root, where the result goes; {ROOT_VARIABLE} if set")
    parser.add_argument("--out", help="directory or URI for the result, instead of <root>/weights/<version>")
    parser.add_argument(
        "--serve-file", type=Path, default=DEFAULT_SERVE_FILE, help="the Serve file whose ranking weights are in use"
    )
    parser.add_argument(
        "--answers", type=Path, help="read a parquet log of answers, as `shortlist replay --save` writes"
    )
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
    parser.add_argument("--holdout", type=share, default=0.2, help="share of the answers, the newest, that judge")
    parser.add_argument(
        "--least-clicks", type=whole, default=300, help="a category with fewer clicks has the weights of all"
    )
    parser.add_argument(
        "--caution", type=positive, default=100.0, help="how strongly weights are drawn to the present ones"
    )
    parser.add_argument(
        "--if-changed", action="store_true", help="fit nothing where the newest result was made from the same"
    )
    parser.add_argument(
        "--if-enough", action="store_true", help="end well, having fitted nothing, where clicks are too few"
    )
    return parser


def _settings(flags: argparse.Namespace) -> dict[str, object]:
    names = ("events", "days", "following_hours", "most_answers", "holdout", "least_clicks", "caution")
    return {name: getattr(flags, name) for name in names}


def main() -> None:
    """Read the flags and run the job."""
    parser = job_flags()
    flags = parsed_flags(parser)
    if not (flags.root or flags.out):
        parser.error(f"--root, {ROOT_VARIABLE} or --out must say where the result goes")
    run_job(lambda: train(flags))


if __name__ == "__main__":
    main()
