"""How one process uses its stores: pools, read routing, consistency tokens, slow queries, circuit breakers."""

# Pydantic reads these annotations at run time.
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0, le=10_000)]


class StorageConfig(BaseModel):
    """
    Limits of one process, the same for the primary and each read replica.

    Attributes:
        pool_size: Connections kept for reuse.
        pool_overflow: Connections beyond ``pool_size`` in a rush; closed when they come back and nobody waits.
        pool_floor: Connections kept open while a healthy server is idle.
        acquire_timeout_s: Longest wait for a connection, and longest wait for the server to accept one.
        connection_lifetime_s: A connection older than this is replaced, give or take a tenth so that not all are at
            once.
        idle_s: A connection beyond the floor that was unused for this long is closed.
        lag_limit_s: A read replica further behind than this is not read from while another or the primary answers.
        return_after: Measurements (one a second) in a row that must find a replica at most half the limit behind before
            it is read from again; also the fewest between two changes of mind about its lag.
        good_probes: Probes in a row that a replica must answer, after it failed, before it is read from again.
        diverted_reads: Most reads that run on the primary at once because every replica lags; beyond them the replica
            that lags least answers, and the answer says that it is stale. One with a consistency token is refused.
        token_wait_s: Longest wait for a replica to reach a consistency token; then the primary is read.
        slow_query_ms: A statement that takes longer is logged with its plan.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pool_size: Annotated[int, Field(ge=1, le=10_000)] = 20
    pool_overflow: Count = 10
    pool_floor: Count = 2
    acquire_timeout_s: Seconds = 5.0
    connection_lifetime_s: Seconds = 3600.0
    idle_s: Seconds = 300.0
    lag_limit_s: Seconds = 60.0
    return_after: Annotated[int, Field(ge=1, le=1000)] = 5
    good_probes: Annotated[int, Field(ge=1, le=1000)] = 3
    diverted_reads: Count = 10
    token_wait_s: Annotated[float, Field(ge=0)] = 0.08
    slow_query_ms: Annotated[float, Field(gt=0)] = 100.0

    @model_validator(mode="after")
    def _floor_fits(self) -> "StorageConfig":
        if self.pool_floor > self.pool_size:
            raise ValueError(f"pool_floor {self.pool_floor} exceeds pool_size {self.pool_size}")
        return self

    @property
    def most_connections(self) -> int:
        """Most connections of the pool of one server."""
        return self.pool_size + self.pool_overflow


class BreakerConfig(BaseModel):
    """
    When a dependency that fails is left alone, and when it is asked again; the same for every dependency.

    Attributes:
        error_share: It opens on a failure that leaves this share of the window's calls failed,
        minimum_volume: if the window holds at least so many,
        consecutive: or after so many failures in a row.
        window_s: Seconds of the window, rounded up to whole ones.
        open_s: Seconds for which every call is refused.
        half_open_share: Share of the calls that then pass as probes: one in a whole number of calls.
        probes_to_close: Probes that must succeed for all calls to pass again; one that fails refuses all again.
        least_wait_s: A timeout counts as a failure only if the dependency had this long to answer, since clients choose
            their deadlines.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    error_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    minimum_volume: Annotated[int, Field(ge=1, le=10_000)] = 20
    consecutive: Annotated[int, Field(ge=1, le=10_000)] = 5
    window_s: Annotated[float, Field(gt=0, le=3600)] = 60.0
    open_s: Seconds = 30.0
    half_open_share: Annotated[float, Field(gt=0, le=1)] = 0.1
    probes_to_close: Annotated[int, Field(ge=1, le=1000)] = 3
    least_wait_s: Annotated[float, Field(ge=0)] = 0.1
