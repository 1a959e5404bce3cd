"""
What can go wrong with an artifact.

    ArtifactError
    ├── ArtifactMissing            degrade: there is no such version, or none is active
    ├── ArtifactCorrupt            degrade: a file differs from its manifest, or cannot be read
    ├── ArtifactConflict           fail: the version exists already
    ├── ArtifactStoreUnavailable   retry: the root cannot be read or written just now
    ├── GateRefused                fail: the version's figures are too low; the one in use stays
    └── EmbeddingMismatch          fail: a vector does not belong to the index
"""

from __future__ import annotations

from collections.abc import Sequence


class ArtifactError(Exception):
    """An artifact could not be read, written or used."""


class ArtifactMissing(ArtifactError):
    """There is no such version; train one, or activate one that exists."""


class ArtifactCorrupt(ArtifactError):
    """The version's files differ from its manifest; activate another version, or train again."""


class ArtifactConflict(ArtifactError):
    """The version exists already; versions are never overwritten, so publish under a new one."""


class ArtifactStoreUnavailable(ArtifactError):
    """The artifact root cannot be read or written; check the path, permissions, free space and network, then retry."""


class GateRefused(ArtifactError):
    """The version loads, but its figures are too low; the version in use stays."""

    def __init__(self, kind: str, version: str, reasons: Sequence[str]) -> None:
        super().__init__(
            f"{kind} {version} is not put into use, the version in use stays. {'; '.join(reasons)}. "
            "Train again, allow more with --margin, or overrule with --force."
        )
        self.reasons = list(reasons)


class EmbeddingMismatch(ArtifactError):
    """The vector has another dimension or dtype than the index; encode it with the index's own encoder."""
