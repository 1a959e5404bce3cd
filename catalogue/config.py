"""How the write side looks after itself."""

# Pydantic reads these annotations at run time.
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Period = Annotated[float, Field(ge=1, le=30 * 86400)]


class MaintenanceConfig(BaseModel):
    """
    How often each task of maintenance runs, in seconds from start to start, and what it keeps.

    Attributes:
        popularity_period_s: Popularity recounted from the events.
        vocabulary_period_s: Words of keyword search and their frequencies.
        head_tier_period_s: Which products keyword search looks at first.
        partitions_period_s: Months of events made ahead of time.
        retention_period_s: Old months of events detached, where ``event_retention_months`` is set.
        compaction_period_s: Superseded records of the change feed removed.
        task_timeout_s: A task that takes longer is ended, and tried again when it is next due.
        months_ahead: How many months after the present one have a partition.
        event_retention_months: Events older than this are detached; None keeps all of them.
        change_retention_h: Change records younger than this many hours stay, superseded or not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    popularity_period_s: Period = 300.0
    vocabulary_period_s: Period = 60.0
    head_tier_period_s: Period = 300.0
    partitions_period_s: Period = 86400.0
    retention_period_s: Period = 86400.0
    compaction_period_s: Period = 86400.0
    task_timeout_s: Annotated[float, Field(gt=0)] = 900.0
    months_ahead: Annotated[int, Field(ge=1, le=120)] = 3
    event_retention_months: Annotated[int, Field(ge=1, le=1200)] | None = None
    change_retention_h: Annotated[int, Field(ge=1)] = 24
