"""Versions of tiny encoders, to activate and to break."""

from __future__ import annotations

from pathlib import Path

from artifacts.encoder import ENCODER_FILE, OnnxEncoder
from artifacts.manifest import ManifestDraft
from artifacts.store import ArtifactStore
from tests.artifacts.tiny_encoder import DIM, write_tiny_encoder


class LiveArtifacts:
    """An artifact store below *directory* whose ``embeddings`` versions hold an encoder and nothing else."""

    def __init__(self, directory: Path) -> None:
        self.store = ArtifactStore(str(directory / "artifacts"))
        self._made = directory / "made"
        self._made.mkdir()
        write_tiny_encoder(self._made)
        self._published = 0

    @property
    def encoder(self) -> OnnxEncoder:
        """The encoder that every version holds, whatever it is called there."""
        return OnnxEncoder(self._made)

    def open(self) -> ArtifactStore:
        """As those who follow a store ask for it."""
        return self.store

    def activate(self, encoder: str | None, *, position: str | None = None) -> str:
        """Publish and activate a version whose encoder is called *encoder*; return the version."""
        self._published += 1
        draft = ManifestDraft(
            kind="embeddings",
            version=f"20261122T1500{self._published:02d}Z-abcdef",
            encoder=encoder,
            dim=DIM,
            parameters={} if position is None else {"changes_position": position},
        )
        version = self.store.publish(self._made, draft).version
        self.store.activate("embeddings", version)
        return version

    def corrupt(self, version: str) -> None:
        """Change a byte of the version's encoder."""
        path = Path(self.store.root) / "embeddings" / version / ENCODER_FILE
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
