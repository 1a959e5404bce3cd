"""What a Postgres data directory says of itself, whether its server runs or not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ServerFailed
from cluster.postgres_programs import PostgresPrograms

# pg_waldump stops with an error where the log ends; the position stands in its text.
_END = re.compile(r"(?:\bat|\bLSN) ([0-9A-F]+/[0-9A-F]+)")


def position(text: str) -> int:
    """Return the byte that a position of the write-ahead log (``0/3000060``) stands for."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


@dataclass(frozen=True)
class ControlData:
    """
    The control file of a data directory.

    Args:
        system_identifier: The same in every copy of one cluster.
        state: ``in production``, ``shut down``, ``in archive recovery``, ...
        checkpoint: Position of the latest checkpoint's record.
        redo: Position from which recovery would begin, as text.
        timeline: Timeline of the latest checkpoint.
    """

    system_identifier: str
    state: str
    checkpoint: int
    redo: str
    timeline: int

    @classmethod
    def of(cls, programs: PostgresPrograms, data: Path) -> ControlData:
        """
        Return what the control file in *data* holds.

        Raises:
            ServerFailed: it cannot be read.
        """
        lines = programs.run("pg_controldata", str(data)).splitlines()
        values = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return cls(
            system_identifier=values["Database system identifier"],
            state=values["Database cluster state"],
            checkpoint=position(values["Latest checkpoint location"]),
            redo=values["Latest checkpoint's REDO location"],
            timeline=int(values["Latest checkpoint's TimeLineID"]),
        )


def end_of_log(programs: PostgresPrograms, data: Path) -> int | None:
    """Return where the write-ahead log in *data* ends, or None where that cannot be known; its server must be down."""
    try:
        control = ControlData.of(programs, data)
        programs.run(
            "pg_waldump",
            "--quiet",
            f"--path={data / 'pg_wal'}",
            f"--timeline={control.timeline}",
            f"--start={control.redo}",
        )
    except ServerFailed as error:
        ends = _END.findall(str(error))
        return position(ends[-1]) if ends else None
    return None
