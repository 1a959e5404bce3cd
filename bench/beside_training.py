"""
What a training job costs those who are served by the same machine: ``python -m bench.beside_training``.

Asks a running local stack for searches that no cache holds, started by the clock whether earlier ones were answered or
not: for some seconds while nothing trains, then as long while its training cluster fits collaborative factors without
end, and so on in turn. The job runs at the priority that the launcher gives the training cluster, its artifacts in a
directory that is removed. Ends with status 1 where an answer is missing or training took no time of the processor.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from bench.freshness import percentile, queries_of
from bench.open_loop import Generator, Reply
from bench.overload import Searches
from cluster.local_stack import LocalStack
from cluster.ray_api import RayApi
from cluster.state_directory import locate
from evaluation.shop import own_stack

OK = 200
PERCENTILES = (50, 95, 99)
QUIET, TRAINING = "nothing trains", "beside training"
# What the worker says after some seconds of work; the job itself says that it fits before there is one.
_FITTING = "round "
_START_S = 120.0
# More rounds than a measurement can see the end of.
_JOB = ("--factors=128", "--iterations=1000000", "--holdout=none", "--no-activate", "--checkpoint-every=3600")


@dataclass(frozen=True)
class Phase:
    """
    Some seconds of load.

    Args:
        name: `QUIET` or `TRAINING`.
        replies: In the order of their coming.
        low_share: Share of the machine's processor time that processes of low priority took.
        busy_share: Share that anything took.
    """

    name: str
    replies: Sequence[Reply]
    low_share: float
    busy_share: float

    def row(self) -> str:
        """One line of the table."""
        ms = [reply.ms for reply in self.replies if reply.status == OK] or [float("nan")]
        figures = "".join(f"{percentile(ms, each):>9.1f}" for each in PERCENTILES)
        missing = sum(reply.status != OK for reply in self.replies)
        return (
            f"{self.name:<18}{len(self.replies):>8}{figures}{missing:>9}{self.low_share:>9.0%}{self.busy_share:>9.0%}"
        )


HEADER = f"{'':<18}{'asked':>8}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'missing':>9}{'training':>9}{'all CPU':>9}"


@dataclass(frozen=True)
class Result:
    """
    All phases of a kind together.

    Args:
        ms: By kind of phase: p50, p95 and p99 of the answers.
        ratios: p50, p95 and p99 beside training, over those without.
        missing: Requests without an answer.
        training_cpu: Share of the machine that low priority had while the job ran.
        asked: Requests in all.
    """

    ms: dict[str, dict[str, float]]
    ratios: dict[str, float]
    missing: int
    training_cpu: float
    asked: int

    @classmethod
    def of(cls, phases: Sequence[Phase]) -> Result:
        """Put *phases* together; there is at least one of each kind."""
        ms = {}
        for name in (QUIET, TRAINING):
            answered = [
                reply.ms for phase in phases if phase.name == name for reply in phase.replies if reply.status == OK
            ] or [float("nan")]
            ms[name] = {f"p{each}": round(percentile(answered, each), 1) for each in PERCENTILES}
        shares = [phase.low_share for phase in phases if phase.name == TRAINING]
        return cls(
            ms=ms,
            ratios={name: round(ms[TRAINING][name] / ms[QUIET][name], 2) for name in ms[QUIET]},
            missing=sum(reply.status != OK for phase in phases for reply in phase.replies),
            training_cpu=round(sum(shares) / len(shares), 3),
            asked=sum(len(phase.replies) for phase in phases),
        )

    def text(self) -> str:
        """The figures that matter, a line each kind."""
        lines = [f"{name:<18}" + "".join(f"{each:>9.1f}" for each in self.ms[name].values()) for name in self.ms]
        ratios = "".join(f"{each:>9.2f}" for each in self.ratios.values())
        return "\n".join([f"{'together':<18}{'p50':>9}{'p95':>9}{'p99':>9}", *lines, f"{'ratio':<18}{ratios}"])


async def phase(name: str, url: str, searches: Searches, *, rate: float, seconds: float) -> Phase:
    """Send *rate* searches a second for *seconds*."""
    parts = urlsplit(url)
    generator = Generator(parts.hostname or "127.0.0.1", parts.port or 80)
    before = psutil.cpu_times()
    await generator.at_rate(rate, seconds, searches)
    after = psutil.cpu_times()
    generator.close()
    spent = {field: getattr(after, field) - getattr(before, field) for field in ("user", "nice", "system", "idle")}
    whole = sum(spent.values()) or 1.0
    return Phase(name, generator.replies, spent["nice"] / whole, 1 - spent["idle"] / whole)


@contextmanager
def training(api: RayApi, root: Path) -> Iterator[None]:
    """A job of the training cluster *api* that fits until the end; entered once it does."""
    command = ["python", "-m", "training.collaborative", f"--root={root}", f"--runs={root}/runs", *_JOB]
    job = api.submit(shlex.join(command), runtime_env={}, metadata={"shortlist_job": "collaborative"})
    try:
        until = time.monotonic() + _START_S
        while _FITTING not in api.job_logs(job):
            if api.job(job)["status"] in ("FAILED", "STOPPED") or time.monotonic() > until:
                sys.exit(f"The training job did not begin to fit:\n{api.job_logs(job)[-2000:]}")
            time.sleep(0.5)
        yield
        if api.job(job)["status"] != "RUNNING":
            sys.exit(f"The training job ended before the measurement did:\n{api.job_logs(job)[-2000:]}")
    finally:
        api.stop_job(job)


async def run(url: str, api: RayApi, *, rate: float, seconds: float, rounds: int) -> Result:
    """Go through all phases, say what each brought, and return the whole."""
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        searches = Searches(urlsplit(url).hostname or "127.0.0.1", await queries_of(client))
    # A stack that was just started has caches to fill and its first upkeep before it.
    await phase("warming up", url, searches, rate=rate, seconds=20)
    print(HEADER, flush=True)
    phases = []
    root = Path(tempfile.mkdtemp(prefix="shortlist-bench-", dir="/tmp"))
    try:
        for _ in range(rounds):
            phases.append(await phase(QUIET, url, searches, rate=rate, seconds=seconds))
            print(phases[-1].row(), flush=True)
            with training(api, root):
                phases.append(await phase(TRAINING, url, searches, rate=rate, seconds=seconds))
            print(phases[-1].row(), flush=True)
            # The workers of the job end.
            await asyncio.sleep(5)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return Result.of(phases)


def measured(state_dir: Path | None, flags: argparse.Namespace) -> Result:
    """What came of the stack in *state_dir*."""
    stack = LocalStack(locate(state_dir)[0])
    record, api = stack.running(), stack.training()
    return asyncio.run(run(record.url, api, rate=flags.rate, seconds=flags.seconds, rounds=flags.rounds))


def main() -> int:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside_training", description=__doc__)
    parser.add_argument("--state-dir", type=Path, help="of a running stack; the default one otherwise")
    parser.add_argument("--own-stack", action="store_true", help="start one with MovieLens-100K, and remove it")
    parser.add_argument("--rate", type=float, default=20.0, help="searches a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a phase")
    parser.add_argument("--rounds", type=int, default=3, help="phases of each kind")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    flags = parser.parse_args()
    if flags.own_stack:
        with own_stack("demo") as (_, state_dir):
            result = measured(state_dir, flags)
    else:
        result = measured(flags.state_dir, flags)
    print(f"\n{result.text()}")
    print(f"training had {result.training_cpu:.0%} of the machine while it ran; {result.missing} answers missing")
    if flags.json:
        flags.json.parent.mkdir(parents=True, exist_ok=True)
        flags.json.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    return int(result.missing > 0 or result.training_cpu <= 0)


if __name__ == "__main__":
    sys.exit(main())
