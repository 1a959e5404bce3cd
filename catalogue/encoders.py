"""The encoders that products are embedded for: of the version in use, of the one before and of one on trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from artifacts.encoder import ENCODER_FILE, TOKENIZER_FILE, OnnxEncoder
from artifacts.errors import ArtifactCorrupt, ArtifactError
from artifacts.manifest import Manifest
from artifacts.store import ArtifactStore

KIND: Final = "embeddings"
RETRY_S = 30.0


@dataclass(frozen=True)
class LiveEncoder:
    """
    An encoder whose vectors have to be kept up to date.

    Attributes:
        version: What its vectors are stored under.
        start: Where in the change feed its artifact was made, if that is known.
        encoder: Texts to vectors; None where nobody here encodes.
    """

    version: str
    start: str | None
    encoder: OnnxEncoder | None


class LiveEncoders:
    """
    Follows the artifact store; nothing here raises, `problem` says what is wrong. That is tried again every 30 s.

    Args:
        open_store: Returns the store; may raise an ArtifactError, then it is asked again.
    """

    def __init__(self, open_store: Callable[[], ArtifactStore]) -> None:
        self.encoders: tuple[LiveEncoder, ...] = ()
        self.problem: str | None = None
        self._open_store = open_store
        self._store: ArtifactStore | None = None
        self._seen: tuple[str | None, str | None, bool] | None = None
        self._retry_at = 0.0

    def look(self, *, load: bool) -> None:
        """
        Take up what is new and let go what is not needed any more. Blocks: run it in a thread.

        Args:
            load: Whether encoders are to be in memory.
        """
        try:
            self._store = self._store or self._open_store()
            active, tried = _active(self._store), _on_trial(self._store)
        except ArtifactError as error:
            self.problem = str(error)
            return
        if self._seen == (active, tried, load) and (self.problem is None or time.monotonic() < self._retry_at):
            return
        self._seen, self._retry_at = (active, tried, load), time.monotonic() + RETRY_S
        problems: list[str] = []
        wanted = _wanted(self._store, active, tried, problems)
        self.encoders = self._followed(self._store, wanted, problems, load=load)
        self.problem = "; ".join(problems) or None

    def _followed(
        self, store: ArtifactStore, wanted: list[str], problems: list[str], *, load: bool
    ) -> tuple[LiveEncoder, ...]:
        """The encoders of the versions *wanted*, each once; what is wrong goes to *problems*."""
        known = {live.version: live.encoder for live in self.encoders if load}
        found: dict[str, LiveEncoder] = {}
        for version in wanted:
            try:
                manifest = store.manifest(KIND, version)
                name = _encoder_version(manifest)
                if name not in found:
                    encoder = (known.get(name) or _loaded(store, version)) if load else None
                    found[name] = LiveEncoder(name, manifest.parameters.get("changes_position"), encoder)
            except ArtifactError as error:
                problems.append(str(error))
        return tuple(found.values())


def _active(store: ArtifactStore) -> str | None:
    """The active version; where ``ACTIVE`` is damaged or gone, the one that serving goes on with."""
    active: str | None = None
    with suppress(ArtifactCorrupt):
        active = store.active_version(KIND)
    return active or next(iter(store.once_active(KIND)), None)


def _on_trial(store: ArtifactStore) -> str | None:
    """The version that a canary or a shadow uses; a damaged ``TRIAL`` is none."""
    with suppress(ArtifactCorrupt):
        return store.on_trial(KIND)
    return None


def _wanted(store: ArtifactStore, active: str | None, tried: str | None, problems: list[str]) -> list[str]:
    """
    The active version, the one on trial, and the one that a rollback would bring back.

    Where there is nothing to go back to, the one used last.
    """
    if active is None:
        problems.append("no embeddings version is active; train one")
        return []
    try:
        used = [*store.in_use_before(KIND), *store.once_active(KIND)]
        before = next((version for version in used if version != active), None)
    except ArtifactError as error:
        problems.append(str(error))
        before = None
    return [version for version in (active, tried, before) if version is not None]


def _encoder_version(manifest: Manifest) -> str:
    if manifest.encoder is None:
        raise ArtifactCorrupt(f"{KIND} {manifest.version} does not name its encoder. Activate another version.")
    return manifest.encoder


def _loaded(store: ArtifactStore, version: str) -> OnnxEncoder:
    return OnnxEncoder(store.fetch(KIND, version, only=(ENCODER_FILE, TOKENIZER_FILE)))
