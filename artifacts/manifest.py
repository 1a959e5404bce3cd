"""The manifest of a version: what it was made from, how well it did, and the sha256 of every file."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

ArtifactKind = Literal["embeddings", "collaborative", "popularity", "encoder"]
KINDS: tuple[ArtifactKind, ...] = ("embeddings", "collaborative", "popularity", "encoder")
MANIFEST_NAME = "manifest.json"
VERSION_PATTERN = r"^\d{8}T\d{6}Z-[0-9a-f]{6}$"


def new_version(now: datetime | None = None) -> str:
    """Return a fresh version name such as ``20261122T150405Z-3fa9c1``; names sort by the second they were made."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def is_version(name: str) -> bool:
    """Whether *name* has the shape of a version."""
    return re.fullmatch(VERSION_PATTERN, name) is not None


def _inside(name: str) -> str:
    """Refuse a file name that would lead out of the version's directory."""
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} is not a file name inside the artifact's directory")
    return name


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class FileRecord(BaseModel):
    """One file of a version: lower-case hexadecimal sha256 and size in bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class DataWindow(BaseModel):
    """The span of event times that the version was trained on, both ends included."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: AwareDatetime
    end: AwareDatetime


class ManifestDraft(BaseModel):
    """All of a manifest that its producer knows; publishing adds the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ArtifactKind
    version: Annotated[str, Field(pattern=VERSION_PATTERN)] = Field(default_factory=new_version)
    created_at: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    encoder: str | None = None
    dim: int | None = None
    metric: str | None = None
    counts: dict[str, int] = Field(default_factory=dict)
    parameters: dict[str, Any] = Field(default_factory=dict)
    data_window: DataWindow | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    parent: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)


class Manifest(ManifestDraft):
    """
    A published version.

    Attributes:
        files: Each file's relative posix path and its record, the manifest excepted.
        seal: The sha256 of all the rest of the manifest; None in one that was made before there were seals.
    """

    files: dict[Annotated[str, AfterValidator(_inside)], FileRecord]
    seal: Sha256 | None = None

    def sealed(self) -> Manifest:
        """The same with its seal."""
        return self.model_copy(update={"seal": seal_of(self.model_dump(mode="json"))})

    @classmethod
    def read(cls, content: bytes) -> Manifest:
        """
        Read what was written.

        Raises:
            ValueError: it is no manifest, or differs from what was sealed.
        """
        manifest = cls.model_validate_json(content)
        if manifest.seal is not None and manifest.seal != seal_of(json.loads(content)):
            raise ValueError("it differs from what was sealed")
        return manifest


def seal_of(document: Mapping[str, Any]) -> str:
    """The sha256 of *document* without its seal, however it is laid out."""
    rest = {name: value for name, value in document.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
