"""One request of the stream and what became of it, as one JSON line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["search", "recommend", "events"]
Broken = Literal["refused", "reset", "silent"]
Pair = tuple[str, str]

READS: frozenset[str] = frozenset({"search", "recommend"})
SERVER_ERROR = 500
TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Record:
    """
    One request.

    Attributes:
        kind: What was asked.
        began_s: When, on the machine's monotonic clock, which all processes share.
        ended_s: When the answer, or the failure, was there.
        status: HTTP status; None where no answer came.
        broken: Why no answer came: nobody listened, the connection broke, or nothing was said until the client gave up.
        code: The ``code`` of a problem document.
        degraded: Whether the answer says that it is.
        pairs: The ``(stage, cause)`` pairs that degrade it.
        faults: How the answer breaks the contract, in words; empty when it keeps it.
        acknowledged: Ids of the events that a 202 acknowledged.
    """

    kind: Kind
    began_s: float
    ended_s: float
    status: int | None = None
    broken: Broken | None = None
    code: str | None = None
    degraded: bool = False
    pairs: tuple[Pair, ...] = ()
    faults: tuple[str, ...] = ()
    acknowledged: tuple[str, ...] = field(default=())

    @property
    def read(self) -> bool:
        """Whether it is a search or asks for recommendations."""
        return self.kind in READS

    @property
    def well(self) -> bool:
        """Whether it was answered as on a good day."""
        return self.status in {200, 202} and not self.degraded

    @property
    def server_error(self) -> bool:
        """Whether the answer was a 5xx."""
        return self.status is not None and self.status >= SERVER_ERROR

    @property
    def shed(self) -> bool:
        """Whether it was refused for lack of capacity."""
        return self.status == TOO_MANY

    @property
    def ms(self) -> float:
        """Milliseconds from asking to the end."""
        return (self.ended_s - self.began_s) * 1000

    def line(self) -> str:
        """The record as a line."""
        return json.dumps(asdict(self), separators=(",", ":")) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Record:
        """The record in *line*."""
        values = json.loads(line)
        values["pairs"] = tuple((stage, cause) for stage, cause in values["pairs"])
        values["faults"] = tuple(values["faults"])
        values["acknowledged"] = tuple(values["acknowledged"])
        return cls(**values)


class RecordFile:
    """
    Records that another process writes, read as they come.

    Args:
        path: The file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self.records: list[Record] = []
        self._path = path
        self._offset = 0

    def read(self) -> list[Record]:
        """Return all records so far, in the order in which they ended."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._offset += len(whole)
            self.records += [Record.of_line(line) for line in whole.decode().splitlines()]
        return self.records

    def since(self, moment_s: float) -> list[Record]:
        """Return the records of requests that began at *moment_s* or later."""
        return [record for record in self.read() if record.began_s >= moment_s]
