"""
Everything that is measured of quality and speed, in one table: ``python -m evaluation.run_all``.

Each part runs as a process of its own, one after the other, and leaves its own report; the table says target and
figure, and ``tests/quality/golden.yaml`` what the figure was. Ends with status 1 where a part failed, or a figure is
not what it was. A missed target is said, not punished: the figures that are known are frozen.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from evaluation.all_report import Part, Row, as_text, frozen, write
from evaluation.figures import Golden, collaborative_rows, search_rows, training_rows, vector_rows

_ROOT = Path(__file__).resolve().parents[1]
GOLDEN = _ROOT / "tests" / "quality" / "golden.yaml"


@dataclass(frozen=True)
class Step:
    """
    One part.

    Args:
        name: As `--only` names it.
        module: Run with ``python -m``.
        arguments: Of a whole run; ``{data}`` and ``{out}`` stand for the data sets' directory and the part's own.
        quick: What is added for a quick one.
        answer: The JSON that it leaves below ``{out}``.
        rows: From that to figures.
        in_quick: Whether a quick run has it at all.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    answer: str
    rows: Callable[[str, Any], list[Row]]
    quick: tuple[str, ...] = ()
    in_quick: bool = True

    def run(self, data: Path, out: Path, *, quick: bool) -> Part:
        """Run it, showing what it says, and return what came of it."""
        directory, began = out / self.name, time.monotonic()
        directory.mkdir(parents=True, exist_ok=True)
        (directory / self.answer).unlink(missing_ok=True)
        places = {"data": str(data.resolve()), "out": str(directory.resolve())}
        arguments = [*self.arguments, *(self.quick if quick else ())]
        command = [sys.executable, "-m", self.module, *(each.format_map(places) for each in arguments)]
        code, said = _shown(command)
        seconds = time.monotonic() - began
        rows, failure = [], ""
        try:
            rows = self.rows(self.name, json.loads((directory / self.answer).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError) as error:
            failure = f"status {code}, {type(error).__name__}; it said last: {' / '.join(said[-1:])}"
        reports = sorted(path for path in directory.rglob("*") if path.suffix in (".html", ".txt", ".json"))
        return Part(self.name, seconds, rows, reports, failure)


def _collaborative(name: str, *, in_quick: bool) -> Step:
    return Step(
        name,
        "evaluation.collaborative",
        (name, "--data={data}", "--out={out}"),
        "collaborative.json",
        collaborative_rows,
        quick=("--no-bare",),
        in_quick=in_quick,
    )


def _search(name: str) -> Step:
    arguments = (name, "--data={data}", "--out={out}")
    return Step(name, "evaluation.search", arguments, "search.json", search_rows, in_quick=False)


STEPS = (
    _collaborative("ml1m", in_quick=True),
    _collaborative("gowalla", in_quick=False),
    _collaborative("online-retail", in_quick=True),
    _collaborative("x-wines", in_quick=False),
    _search("icecat"),
    _search("scifact"),
    Step(
        "vectors",
        "bench.vector_index",
        ("--data={data}", "--json={out}/vectors.json", "--kinds", "Flat", "IVF2048,SQ8", "hnswlib M=16"),
        "vectors.json",
        vector_rows,
        in_quick=False,
    ),
    Step(
        "beside-training",
        "bench.beside_training",
        ("--own-stack", "--json={out}/training.json"),
        "training.json",
        training_rows,
        quick=("--rounds=1", "--seconds=10"),
    ),
)


def run(steps: list[Step], data: Path, out: Path, golden: Golden, *, quick: bool) -> list[Part]:
    """Run *steps*, and write what is there after each, so that nothing is lost where one is ended from outside."""
    parts: list[Part] = []
    title = "Everything measured" + (", a quick run" if quick else "")
    for step in steps:
        print(f"== {step.name}", flush=True)
        part = step.run(data, out, quick=quick)
        parts.append(replace(part, rows=frozen(part.rows, golden.figures, golden.tolerances)))
        write(parts, out, title=title)
        print(f"   {part.failure or 'done'} after {part.seconds:,.0f} s", flush=True)
    return parts


def chosen(names: list[str] | None, *, quick: bool, steps: tuple[Step, ...] = STEPS) -> list[Step]:
    """
    Return the steps of *names*; without names all, or those of a quick run.

    Raises:
        ValueError: a name is that of no step.
    """
    if not names:
        return [step for step in steps if step.in_quick or not quick]
    by_name: Mapping[str, Step] = {step.name: step for step in steps}
    if unknown := set(names) - set(by_name):
        raise ValueError(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(by_name)}")
    return [by_name[name] for name in by_name if name in names]


def _shown(command: list[str]) -> tuple[int, list[str]]:
    """Run *command*, print what it says, and return its status and its lines."""
    lines = []
    with subprocess.Popen(  # noqa: S603  our own modules
        command, cwd=_ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            print(f"   {lines[-1]}", flush=True)
    return process.returncode, lines


def main() -> None:
    """Measure all, print the table and write the report."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.run_all", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", metavar="PART", help=f"of {', '.join(step.name for step in STEPS)}; all by default"
    )
    parser.add_argument("--quick", action="store_true", help="what takes minutes: two data sets, one short load")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="where the data sets lie")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="where the reports are written")
    parser.add_argument("--golden", type=Path, default=GOLDEN, help="the figures as they were")
    flags = parser.parse_args()
    try:
        steps = chosen(flags.only, quick=flags.quick)
    except ValueError as error:
        parser.error(str(error))
    if not flags.data.is_dir():
        sys.exit(f"{flags.data} is not there: the data sets are not part of the project; say where with --data.")
    if not flags.golden.is_file():
        sys.exit(f"{flags.golden} is not there: the figures as they were stand there; say where with --golden.")
    golden = Golden.of(yaml.safe_load(flags.golden.read_text(encoding="utf-8")))
    parts = run(steps, flags.data, flags.out, golden, quick=flags.quick)
    print(f"\n{as_text(parts)}\n")
    print(flags.out / "index.html")
    sys.exit(int(is_wrong(parts)))


def is_wrong(parts: list[Part]) -> bool:
    """Whether a part failed or a frozen figure moved; the table says which targets are missed."""
    return any(part.failure or any(row.moved for row in part.rows) for part in parts)


if __name__ == "__main__":
    main()
