"""What a snapshot says of itself, and where its files lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from artifacts.manifest import VERSION_PATTERN, DataWindow, FileRecord, Sha256, new_version, seal_of

PRODUCTS_FILE = "products.parquet"
USERS_FILE = "users.parquet"
EVENTS_DIRECTORY = "events"
IDENTITIES_FILE = "identities.npz"
REPORT_FILE = "report.json"
REPORT_TEXT_FILE = "report.txt"

Partition = Literal["month", "day"]


class SnapshotManifest(BaseModel):
    """
    A published snapshot.

    Attributes:
        taken_at: The time as of which all of it is, by the clock of the server that it was read from.
        heartbeat_at: The newest heartbeat that is in it, by the primary's clock: what was committed before is there.
        source: The server it was read from, ``primary`` or such as ``replica-1``.
        partition: How much time a file of events holds.
        window_end: The time that all but one in a thousand events precede; None without events.
        data_window: The span of event times up to *taken_at*; None without events.
        digest: Says of products, events and users whether they are the same.
        alarms: What the report found that is beyond its limits.
        files: Each file's relative posix path and its record, the manifest excepted.
        seal: The sha256 of all the rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["snapshot"] = "snapshot"
    version: Annotated[str, Field(pattern=VERSION_PATTERN)] = Field(default_factory=new_version)
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    taken_at: AwareDatetime
    heartbeat_at: AwareDatetime | None = None
    source: str
    partition: Partition
    window_end: AwareDatetime | None = None
    data_window: DataWindow | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    metrics: dict[str, float] = Field(default_factory=dict)
    digest: Sha256
    alarms: list[str] = Field(default_factory=list)
    parent: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    files: dict[str, FileRecord]
    seal: Sha256 | None = None

    def sealed(self) -> SnapshotManifest:
        """The same with its seal."""
        return self.model_copy(update={"seal": seal_of(self.model_dump(mode="json"))})

    @classmethod
    def read(cls, content: bytes) -> SnapshotManifest:
        """
        Read what was written.

        Raises:
            ValueError: it is no manifest of a snapshot, or differs from what was sealed.
        """
        manifest = cls.model_validate_json(content)
        if manifest.seal != seal_of(json.loads(content)):
            raise ValueError("it differs from what was sealed")
        return manifest

    @property
    def event_files(self) -> list[str]:
        """The files of events, oldest first."""
        return sorted(name for name in self.files if name.startswith(f"{EVENTS_DIRECTORY}/"))


def content_digest(files: Mapping[str, FileRecord], window_end: datetime | None) -> str:
    """
    Return what says of products, events and users whether they are the same.

    The same rows are written as the same bytes. *window_end* counts, since it moves when an event of the future
    becomes one of the past.
    """
    found = hashlib.sha256(str(window_end and window_end.timestamp()).encode())
    for name, record in sorted(files.items()):
        if name.endswith(".parquet"):
            found.update(f"\0{name}\0{record.sha256}".encode())
    return found.hexdigest()
