"""What a command shows: progress on stderr, its result on stdout, as text or as JSON."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

QUIET_S = 2.0
REMINDER_S = 10.0
PLAIN_WIDTH = 120


@dataclass
class Progress:
    """One step under way; `say` tells what it is at."""

    terminal: Console
    name: str
    began: float = field(default_factory=time.monotonic)
    said_at: float = 0.0
    spinner: Any = None

    def say(self, detail: str) -> None:
        """Show *detail* beside the step; on a plain stream at most one line each ten seconds."""
        elapsed = time.monotonic() - self.began
        if self.spinner is not None:
            self.spinner.update(f"{self.name} [dim]{elapsed:.0f} s · {_plain(detail)}[/dim]")
        elif elapsed > QUIET_S and time.monotonic() - self.said_at > REMINDER_S:
            self.said_at = time.monotonic()
            self.terminal.print(f"  {self.name} ({elapsed:.0f} s): {_plain(detail)}", highlight=False)


class Output:
    """
    Where a command writes.

    Args:
        as_json: Whether stdout carries one JSON document and nothing else.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.terminal = _console(stderr=True)
        self.result = _console(stderr=False)
        self.seconds: dict[str, float] = {}

    def tell(self, text: str) -> None:
        """Show a line for people."""
        self.terminal.print(_plain(text), highlight=False)

    def answer(self, document: Mapping[str, Any]) -> None:
        """Write the result for machines; nothing without ``--json``."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, default=str) + "\n")
            sys.stdout.flush()

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Progress]:
        """Show that *name* is under way, and how many seconds it took."""
        progress = Progress(self.terminal, name)
        if self.terminal.is_terminal:
            with self.terminal.status(name) as spinner:
                progress.spinner = spinner
                yield progress
        else:
            self.terminal.print(f"  {name} ...", highlight=False)
            yield progress
        self.done(name, time.monotonic() - progress.began)

    def done(self, name: str, seconds: float) -> None:
        """Show that *name* is done."""
        self.seconds[name] = round(seconds, 2)
        self.terminal.print(f"[green]✓[/green] {name} [dim]{seconds:.1f} s[/dim]", highlight=False)


def _console(*, stderr: bool) -> Console:
    """Return a console as wide as the terminal; wide enough for tables where there is none."""
    console = Console(stderr=stderr, soft_wrap=True)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def _plain(text: str) -> str:
    """Return *text* so that rich shows its brackets instead of reading them."""
    return text.replace("[", r"\[")
