"""What is known of a user: the vector, from training or folded in from events since; and what the user owns."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import numpy as np
import numpy.typing as npt

from artifacts.active import Loaded
from artifacts.event_weights import query_arguments
from artifacts.factors import Factors
from artifacts.fold_in import fold_in
from artifacts.held import Held
from contracts.candidates import Profile
from contracts.stages import Stage
from retrieval.reads import read_stage
from retrieval.stage_run import run_stage
from storage.database import Database

MOST_EVENTS = 500
"""How many of a user's latest events a vector is folded in from."""


class ProfileReader:
    """
    Looks users up, with one statement.

    A user who has had no event since training has the vector of training, which may rest on more events than are read
    here. With any other number of events the vector is folded in: from the first event on, and as soon as it is
    committed (read on a replica: as soon as it is there).

    Args:
        database: Where the events are.
        factors: The collaborative artifact; None in a process that holds none.
    """

    def __init__(self, database: Database, factors: Held[Factors] | None) -> None:
        self._database = database
        self._factors = factors

    async def profile(self, user_id: str, *, timeout_s: float, after: str | None = None) -> Profile:
        """
        Return the user's vector within *timeout_s*; ``owned`` stays empty. The stage says what failed.

        A user without events on products of the model has no vector. With a consistency token in *after*, events that
        it covers count.
        """
        return await self._profile(user_id, timeout_s=timeout_s, after=after, owned=False)

    async def with_owned(self, user_id: str, *, timeout_s: float, after: str | None = None) -> Profile:
        """Return the profile with what the user bought or rated; if that cannot be read, the stage says so."""
        return await self._profile(user_id, timeout_s=timeout_s, after=after, owned=True)

    async def _profile(self, user_id: str, *, timeout_s: float, after: str | None, owned: bool) -> Profile:
        loaded = self._factors.current if self._factors else None
        if loaded is None and not owned:
            return self._without_model(user_id, Stage("profile"))
        trained = loaded.value.event_count(user_id) if loaded else None
        most_events = MOST_EVENTS if loaded else 0
        reading = self._database.fetch(
            "user_interactions", user_id, *query_arguments(), most_events, trained, owned, after=after
        )
        rows, stage = await run_stage("profile", reading, timeout_s=timeout_s)
        if rows is None:
            return _unread(user_id, loaded, stage)
        bought = frozenset(str(row["product_id"]) for row in rows.records if row["owned"])
        events = int(rows.records[0]["event_count"] or 0)
        stage = read_stage(stage, [rows.source])
        if loaded is None:
            return replace(self._without_model(user_id, stage), owned=bought, event_count=events)
        vector, source = _vector(loaded.value, user_id, rows.records, trained)
        if vector is not None:
            stage = replace(stage, source=f"{source}+{stage.source}")
        elif stage.cause is None:
            stage = Stage("profile", status="skipped", cause="unknown_user", ms=stage.ms)
        return Profile(user_id, vector, loaded.version, bought, stage, events)

    def _without_model(self, user_id: str, stage: Stage) -> Profile:
        cause = (self._factors.cause if self._factors else None) or "artifact_missing"
        return Profile(user_id, None, None, frozenset(), Stage("profile", status="skipped", cause=cause, ms=stage.ms))


def _vector(
    factors: Factors, user_id: str, records: list[asyncpg.Record], trained_events: int | None
) -> tuple[npt.NDArray[np.float32] | None, str]:
    """The user's vector and where it comes from; training's where the events are those of training, or are gone."""
    row = factors.user_row(user_id)
    if row is not None and trained_events is not None and records[0]["event_count"] == trained_events:
        return factors.user_factors[row], "factors"
    confidences = {str(each["product_id"]): each["confidence"] for each in records if each["confidence"] is not None}
    folded = fold_in(factors, confidences)
    if folded is None and row is not None:
        return factors.user_factors[row], "factors"
    return folded, "fold_in"


def _unread(user_id: str, loaded: Loaded[Factors] | None, stage: Stage) -> Profile:
    """What there is when the events cannot be read: the vector of training, if the user has one."""
    row = loaded.value.user_row(user_id) if loaded else None
    if loaded is None or row is None:
        return Profile(user_id, None, loaded.version if loaded else None, frozenset(), stage)
    stage = replace(stage, status="fallback", source="factors", fallback="trained vector")
    return Profile(user_id, loaded.value.user_factors[row], loaded.version, frozenset(), stage)
