"""What is known of a user: the vector in memory, the history in Postgres."""

from __future__ import annotations

import time
from dataclasses import replace

from artifacts.active import ActiveArtifact
from artifacts.factors import Factors
from contracts.candidates import Profile
from contracts.stages import Stage
from retrieval.reads import read_stage
from retrieval.stage_run import run_stage
from storage.database import Database


class ProfileReader:
    """Looks users up; *factors* is None in a process that holds no factor model."""

    def __init__(self, database: Database, factors: ActiveArtifact[Factors] | None) -> None:
        self._database = database
        self._factors = factors

    def profile(self, user_id: str) -> Profile:
        """Return the user's vector, from memory; ``owned`` stays empty. A user the model does not know has none."""
        started = time.perf_counter()
        loaded = self._factors.current if self._factors else None
        if self._factors is None or loaded is None:
            cause = (self._factors.cause if self._factors else None) or "artifact_missing"
            return Profile(user_id, None, None, frozenset(), Stage("profile", status="skipped", cause=cause))
        row = loaded.value.user_row(user_id)
        ms = round((time.perf_counter() - started) * 1000, 3)
        if row is None:
            stage = Stage("profile", status="skipped", cause="unknown_user", ms=ms)
            return Profile(user_id, None, loaded.version, frozenset(), stage)
        stage = Stage("profile", source="factors", ms=ms)
        return Profile(user_id, loaded.value.user_factors[row], loaded.version, frozenset(), stage)

    async def with_owned(self, user_id: str, *, timeout_s: float) -> Profile:
        """Return the profile with what the user bought or rated; if that cannot be read, the stage says so."""
        profile = self.profile(user_id)
        rows, stage = await run_stage(
            "profile", self._database.fetch("user_bought_or_rated", user_id), timeout_s=timeout_s
        )
        if rows is None:
            return replace(profile, stage=stage)
        owned = frozenset(str(row["product_id"]) for row in rows.records)
        if profile.stage.cause is None:
            stage = read_stage(stage, [rows.source])
            stage = replace(stage, source=f"factors+{stage.source}")
        else:
            stage = replace(profile.stage, ms=stage.ms)
        return replace(profile, owned=owned, stage=stage)
