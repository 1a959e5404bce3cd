"""A promotion as the command asks for it and as the supervisor answers."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from cluster.errors import PromotionRefused


class PromotionRequest(BaseModel):
    """
    What a command asks of the supervisor, by a file.

    Args:
        wait_s: Most seconds for each server to answer, and for the replica of a living primary to catch up.
        demote: Port of the primary to be replaced, so that two requests at once do not swap the roles twice.
        id: Found again in the answer.
    """

    wait_s: float
    demote: int | None
    id: str = Field(default_factory=lambda: uuid.uuid4().hex)

    def place(self, path: Path) -> None:
        """
        Leave the request at *path*.

        Raises:
            PromotionRefused: another one waits there.
        """
        partial = path.with_suffix(f".{self.id}")
        partial.write_text(self.model_dump_json())
        try:
            os.link(partial, path)
        except FileExistsError:
            raise PromotionRefused("Another promotion was asked for and has not begun yet") from None
        finally:
            partial.unlink()

    def withdraw(self, path: Path) -> None:
        """Remove the request from *path* if it still waits there."""
        with contextlib.suppress(FileNotFoundError, ValidationError):
            if PromotionRequest.model_validate_json(path.read_text()).id == self.id:
                path.unlink(missing_ok=True)

    @classmethod
    def take(cls, path: Path) -> PromotionRequest | None:
        """Return the request at *path*, which is gone then, or None where nobody asked."""
        try:
            text = path.read_text()
            path.unlink()
            return cls.model_validate_json(text)
        except (FileNotFoundError, ValidationError):
            return None


class PromotionRecord(BaseModel):
    """
    What came of a request.

    Args:
        id: The request's.
        condition: How far it is; ``refused`` means that nothing was changed.
        doing: The step under way, in words.
        error: Why it was refused or failed, or what went wrong after it was done.
        planned: Whether the old primary lived and handed over all it had.
        lost_bytes: Length of the log that the new primary never got; None where that cannot be known.
        replica_streams: Whether the old primary follows the new one.
    """

    id: str
    condition: Literal["running", "done", "refused", "failed"] = "running"
    doing: str = ""
    error: str | None = None
    planned: bool = False
    lost_bytes: int | None = None
    replica_streams: bool = False
