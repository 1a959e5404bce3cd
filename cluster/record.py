"""What the supervisor writes down about the stack it runs, for every other command to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from cluster.errors import StateUnusable
from cluster.identity import ProcessIdentity
from cluster.promotion_record import PromotionRecord
from cluster.rebuild_record import RebuildRecord

# How the names of worker nodes begin.
WORKER = "ray-worker-"


class PartRecord(BaseModel):
    """One server or Ray cluster: its process, its port (of a Postgres server: the socket's number), its restarts."""

    process: ProcessIdentity
    port: int | None = None
    restarts: int = 0


class Step(BaseModel):
    """One step of starting: what, and how long it took once it is done."""

    name: str
    started_at: float
    seconds: float | None = None


class StackRecord(BaseModel):
    """A stack: who runs it, how far it is, and where everything listens."""

    condition: Literal["starting", "ready", "stopping", "stopped", "failed"] = "starting"
    error: str | None = None
    guard: ProcessIdentity
    supervisor: ProcessIdentity
    parts: dict[str, PartRecord] = {}
    steps: list[Step] = []
    url: str
    http_host: str
    http_port: int
    dashboard_url: str | None = None
    training_dashboard_url: str | None = None
    database_url: str
    replica_urls: list[str]
    redis_url: str
    ports: dict[str, dict[str, int]] = {}
    promotion: PromotionRecord | None = None
    rebuilds: list[RebuildRecord] = []

    def write(self, path: Path) -> None:
        """Replace the file at *path*, whole or not at all."""
        partial = path.with_suffix(".partial")
        try:
            partial.write_text(self.model_dump_json(indent=1))
            partial.chmod(0o600)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    @classmethod
    def read(cls, path: Path) -> StackRecord | None:
        """
        Return the record at *path*, or None where there is none.

        Raises:
            StateUnusable: the file is damaged.
        """
        try:
            return cls.model_validate(json.loads(path.read_text()))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, ValidationError) as error:
            raise StateUnusable(
                f"{path} is damaged. Nothing else is lost: end the processes named in it, if any are left, "
                f"remove the file and start again with: shortlist up"
            ) from error
