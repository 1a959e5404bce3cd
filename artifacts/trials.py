"""
Trials: a version that is tried beside the active one, by shadow or canary, before anyone activates it.

``<kind>/TRIAL`` is the trial begun last. It is in force until ``<kind>/trials/<id>.ended.json`` is there. So an end
names the one trial that it ends: whoever ends one late cannot end the next, also where a store has no compare-and-set.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import VERSION_PATTERN, ArtifactKind
from artifacts.tree import Tree
from artifacts.trial_figures import TrialFigures

Mode = Literal["shadow", "canary"]
TRIED: tuple[ArtifactKind, ...] = ("embeddings", "collaborative")
"""The kinds that replicas hold, and can hold twice."""
TRIALS_READ = 20
_BEGUN, _ENDED = ".json", ".ended.json"


class Trial(BaseModel):
    """
    A version on trial.

    Attributes:
        id: A name of its own; ids sort by time.
        share: Of a canary, the share of users who get the version; of a shadow, that of requests asked twice.
    """

    model_config = ConfigDict(frozen=True)

    id: Annotated[str, Field(pattern=r"^\d{8}T\d{6}\.\d{6}Z-[0-9a-f]{8}$")]
    mode: Mode
    version: Annotated[str, Field(pattern=VERSION_PATTERN)]
    share: Annotated[float, Field(gt=0, le=1)]
    begun_at: AwareDatetime

    @classmethod
    def begun(cls, mode: Mode, version: str, share: float) -> Trial:
        """A trial that begins now."""
        now = datetime.now(UTC)
        trial_id = f"{now:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(4)}"
        return cls(id=trial_id, mode=mode, version=version, share=share, begun_at=now)


class Ending(BaseModel):
    """How a trial ended; *failed* where it was its version's fault."""

    model_config = ConfigDict(frozen=True)

    ended_at: AwareDatetime
    reason: str
    failed: bool = False


class TrialLog:
    """The trials of one kind in a store; *root* is what messages call it."""

    def __init__(self, tree: Tree, kind: ArtifactKind, root: str) -> None:
        self.kind = kind
        self._tree = tree
        self._root = root

    def current(self) -> Trial | None:
        """
        Return the trial in force, or None.

        Raises:
            ArtifactCorrupt: ``TRIAL`` is damaged.
            ArtifactStoreUnavailable: it cannot be read.
        """
        content = self._tree.read(f"{self.kind}/TRIAL")
        if content is None:
            return None
        try:
            trial = Trial.model_validate_json(content)
        except ValidationError as error:
            raise ArtifactCorrupt(
                f"{self._root}/{self.kind}/TRIAL cannot be read. Begin a trial anew, or remove the file."
            ) from error
        return None if self.ending(trial.id) is not None else trial

    def begin(self, trial: Trial) -> None:
        """Put *trial* in force, in place of one that is."""
        content = trial.model_dump_json().encode() + b"\n"
        # First, so that nothing can be in force that is not written down.
        self._tree.replace(self._name(trial.id, _BEGUN), content)
        self._tree.replace(f"{self.kind}/TRIAL", content)

    def end(self, trial_id: str, reason: str, *, failed: bool = False) -> bool:
        """End that trial and no other; return False where it had ended before."""
        if self.ending(trial_id) is not None:
            return False
        ending = Ending(ended_at=datetime.now(UTC), reason=reason, failed=failed)
        self._tree.replace(self._name(trial_id, _ENDED), ending.model_dump_json().encode() + b"\n")
        return True

    def ending(self, trial_id: str) -> Ending | None:
        """How that trial ended; None where it did not. What is damaged says no more than that it did."""
        content = self._tree.read(self._name(trial_id, _ENDED))
        if content is None:
            return None
        try:
            return Ending.model_validate_json(content)
        except ValidationError:
            return Ending(ended_at=datetime.fromtimestamp(0, UTC), reason="its end cannot be read")

    def recent(self) -> list[tuple[Trial, Ending | None]]:
        """The latest trials and their ends, oldest first; what cannot be read is passed over."""
        names = [name for name in self._tree.names(f"{self.kind}/trials") if name.endswith(_BEGUN)]
        found = []
        for name in [name for name in names if not name.endswith(_ENDED)][-TRIALS_READ:]:
            try:
                trial = Trial.model_validate_json(self._tree.read(f"{self.kind}/trials/{name}") or b"")
            except (ValidationError, ArtifactCorrupt):
                continue
            found.append((trial, self.ending(trial.id)))
        # One that another took the place of has no end of its own.
        return found

    def report(self, trial_id: str, replica: str, figures: TrialFigures) -> None:
        """Keep what *replica* has seen of a trial since it took it up, in place of what it reported before."""
        self._tree.replace(f"{self.kind}/trials/{trial_id}/{replica}.json", figures.model_dump_json().encode() + b"\n")

    def reports(self, trial_id: str) -> Sequence[TrialFigures]:
        """What each replica reported, those included that are gone; what cannot be read is passed over."""
        found = []
        for name in self._tree.names(f"{self.kind}/trials/{trial_id}"):
            try:
                content = self._tree.read(f"{self.kind}/trials/{trial_id}/{name}") or b""
                found.append(TrialFigures.model_validate_json(content))
            except (ValidationError, ArtifactCorrupt):
                continue
        return found

    def _name(self, trial_id: str, suffix: str) -> str:
        return f"{self.kind}/trials/{trial_id}{suffix}"
