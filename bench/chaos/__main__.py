"""
What clients see while parts of a running stack are killed, frozen, corrupted: ``python -m bench.chaos``.

Starts a stack of its own, or takes the one in ``--state-dir``; asks it steadily from a process beside; does one fault
at a time and measures each until all is well again. Prints a Markdown table as it goes, and below it where the
contract of docs/failure-modes.md did not hold. Ends with status 1 where it did not. Ctrl-C undoes what was done, and
stops what was started.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import logging
import os
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.chaos.campaign import RandomRun, matrix, random_run
from bench.chaos.experiment import Patience, wait_well
from bench.chaos.fault import Fault
from bench.chaos.faults import BY_NAME, FAULTS, PAIRS, RANDOM, both
from bench.chaos.measurement import Measurement
from bench.chaos.own_stack import own_stack
from bench.chaos.report import baseline, head, line, random_report, violations
from bench.chaos.stream import Stream, StreamOptions
from bench.chaos.subject import Subject
from cluster.signals import StopAsked, stop_on_signal

BASELINE_S = 10.0


def chosen(only: Sequence[str], *, pairs: bool) -> list[Fault]:
    """The faults that the flags choose: by name, pattern or group; all single ones by default."""
    every = [both(BY_NAME[first], BY_NAME[second]) for first, second in PAIRS] if pairs else list(FAULTS)
    if not only:
        return every
    found = [fault for fault in every if any(fnmatch.fnmatch(fault.name, one) or fault.group == one for one in only)]
    if not pairs and not found:
        found = [both(*(BY_NAME[name] for name in one.split("+"))) for one in only if one.count("+") == 1]
    if not found:
        raise SystemExit(f"No fault is called {', '.join(only)}. There are:\n" + "\n".join(BY_NAME))
    return found


def main() -> int:
    """Read the flags and run."""
    flags = _flags()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if flags.list:
        print("\n".join(f"{fault.group:<9} {fault.name:<28} {fault.does}" for fault in FAULTS))
        return 0
    faults = chosen(flags.only, pairs=flags.pairs)
    try:
        with (
            stop_on_signal(),
            _subject(flags) as subject,
            tempfile.TemporaryDirectory() as directory,
            _stream(flags, subject, Path(directory)) as stream,
        ):
            return _random(flags, subject, stream) if flags.random else _matrix(flags, faults, subject, stream)
    except StopAsked as stop:
        print("Stopped; what was done is undone.", file=sys.stderr)
        return 128 + stop.number


def _matrix(flags: argparse.Namespace, faults: Sequence[Fault], subject: Subject, stream: Stream) -> int:
    print(head(), flush=True)
    print(line(baseline(stream.answers.read())), flush=True)
    patience = Patience(least_s=flags.least, recovery_s=flags.recovery)
    results: list[Measurement] = []

    def follow(result: Measurement) -> None:
        results.append(result)
        print(line(result), flush=True)

    try:
        matrix(faults, subject, stream, patience, follow=follow)
    finally:
        # Also of a run that is ended before.
        print(f"\n{violations(results)}", flush=True)
        if flags.json:
            flags.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    return 1 if any(result.violations for result in results) else 0


def _random(flags: argparse.Namespace, subject: Subject, stream: Stream) -> int:
    seed = flags.seed if flags.seed is not None else secrets.randbits(31)
    print(f"seed {seed}", flush=True)
    result: RandomRun = random_run(
        [BY_NAME[name] for name in RANDOM],
        subject,
        stream,
        number=flags.random,
        seed=seed,
        follow=lambda text: print(text, file=sys.stderr, flush=True),
    )
    print(random_report(result))
    if flags.json:
        flags.json.write_text(json.dumps(asdict(result), indent=1))
    return 0 if result.kept else 1


@contextlib.contextmanager
def _subject(flags: argparse.Namespace) -> Iterator[Subject]:
    if flags.state_dir is not None:
        yield Subject(flags.state_dir)
        return
    with own_stack(workers=flags.workers) as own:
        yield Subject(own)


@contextlib.contextmanager
def _stream(flags: argparse.Namespace, subject: Subject, directory: Path) -> Iterator[Stream]:
    """The stream, once its answers are as on a good day; what it wrote is removed at the end."""
    options = StreamOptions(
        url=subject.url,
        name=f"chaos-{os.getpid()}-{int(time.time())}",
        searches=flags.searches,
        recommendations=flags.recommendations,
        posts=flags.posts,
        timeout_ms=flags.timeout_ms,
    )
    stream = Stream(options, directory / "records.jsonl")
    try:
        with stream.running():
            wait_well(stream, since_s=time.monotonic(), timeout_s=120.0)
            time.sleep(BASELINE_S)
            yield stream
    finally:
        if flags.records:
            flags.records.write_bytes((directory / "records.jsonl").read_bytes())
        with contextlib.suppress(Exception):
            subject.forget_events(options.name)


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description="Break a running stack on purpose.")
    parser.add_argument("--state-dir", type=Path, help="a running stack [default: one of its own]")
    parser.add_argument("--workers", type=int, default=1, help="of a stack of its own: Ray nodes beside the head")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names, patterns or groups; A+B at once")
    parser.add_argument("--pairs", action="store_true", help="two faults at once, a list of pairs")
    parser.add_argument("--random", type=int, metavar="N", help="N faults at random instead; the contract on writes")
    parser.add_argument("--seed", type=int, help="of the random faults; the same seed draws the same")
    parser.add_argument("--list", action="store_true", help="say which faults there are")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there")
    parser.add_argument("--records", type=Path, metavar="FILE", help="write a line for each request there")
    parser.add_argument("--searches", type=float, default=10.0, help="a second")
    parser.add_argument("--recommendations", type=float, default=4.0, help="a second")
    parser.add_argument("--posts", type=float, default=3.0, help="batches of events a second")
    parser.add_argument("--timeout-ms", type=int, default=1000, help="deadline of the reads")
    parser.add_argument("--least", type=float, default=6.0, help="a fault lasts at least so many seconds")
    parser.add_argument("--recovery", type=float, default=150.0, help="most seconds to wait for recovery")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
