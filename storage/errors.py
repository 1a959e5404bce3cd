"""
What can go wrong in storage, and what to do about it.

::

    StorageError
    ├── SettingMissing            fail: set the variable and start again
    ├── MigrationChanged          fail: restore the migration, write a new one
    ├── QueryUnknown              fail: a name that no file in storage/queries defines
    ├── TimelineChanged           start over: read the changes of products from the beginning
    ├── DatabaseUnavailable       retry or degrade
    │   ├── PoolTimeout           shed: every connection is busy
    │   │   └── PrimaryProtected  shed: only the primary could answer, and has its fill of such reads
    │   ├── ReadGaveWay           retry elsewhere: a replica ended the read in favour of replay
    │   ├── QueryTimeout          degrade: the answer came too late
    │   └── DatabaseShunned       retry elsewhere: its circuit breaker is open (a CircuitOpen too)
    ├── CacheUnavailable          go on without the cache
    │   └── CacheShunned          its circuit breaker is open (a CircuitOpen too)
    ├── EpochMoved                begin anew: Redis was away again while its keys were verified
    └── CircuitOpen               degrade at once: the dependency kept failing and is left alone for a while

An error of the statement itself (syntax, types, constraints) stays the asyncpg error it is.
"""

from __future__ import annotations

from collections.abc import Callable


class StorageError(Exception):
    """Storage cannot do what was asked. Its errors travel between processes."""

    retryable = False

    def __reduce__(self) -> tuple[Callable[..., StorageError], tuple[object, ...]]:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[StorageError], args: tuple[object, ...], state: dict[str, object]) -> StorageError:
    """An error as it was, without going through its constructor, whose parameters are not its text."""
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class SettingMissing(StorageError):
    """A required environment variable is absent."""

    def __init__(self, variable: str) -> None:
        super().__init__(f"{variable} is not set. Set it in the environment of the Ray nodes (see docs/data.md).")
        self.variable = variable


class MigrationChanged(StorageError):
    """A migration that is already applied differs from its file."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} was changed after it had been applied to this database. "
            "Restore the file as it was and put the change into a new migration with the next number."
        )
        self.name = name


class QueryUnknown(StorageError, KeyError):
    """No file in storage/queries defines a query of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"no query is named {self.name!r}: add it to a file in storage/queries"


class TimelineChanged(StorageError):
    """Another primary writes now; what it wrote may bear positions of the feed that were given out before."""

    def __init__(self, before: int, now: int) -> None:
        super().__init__(f"the primary is on timeline {now} and was on {before}: read the changes of products anew")


class DatabaseUnavailable(StorageError):
    """The database cannot be reached, went away, or did not answer in time. Retry, or answer degraded."""

    retryable = True
    undone = False
    """Whether it is certain that nothing was written: a transaction failed before its commit was asked for."""

    def __init__(self, endpoint: str, problem: str) -> None:
        super().__init__(f"database endpoint {endpoint}: {problem}")
        self.endpoint = endpoint
        self.problem = problem


class PoolTimeout(DatabaseUnavailable):
    """Every connection of the pool stayed busy. Lower the load or add replicas; the server itself may be well."""


class PrimaryProtected(PoolTimeout):
    """Every read replica lags, and the primary takes no more reads in their place. Lower the load or add replicas."""


class ReadGaveWay(DatabaseUnavailable):
    """A replica ended a read that stood in the way of replay. It is well; read elsewhere, or again."""


class QueryTimeout(DatabaseUnavailable):
    """The answer did not come within the time the caller gave. Answer degraded, or give it more time."""


class CacheUnavailable(StorageError):
    """The cache cannot be reached or did not answer in time. Answer from the database."""

    retryable = True


class CircuitOpen(StorageError):
    """A dependency that kept failing is left alone for a while. Answer without it, or retry later."""

    retryable = True

    def __init__(self, dependency: str, *, retry_in_s: float) -> None:
        # Not super(): its other kinds have a second base, whose constructor wants something else.
        StorageError.__init__(self, f"{dependency} kept failing and is left alone; ask again in {retry_in_s:.0f} s")
        self.dependency = dependency
        self.retry_in_s = retry_in_s


class DatabaseShunned(CircuitOpen, DatabaseUnavailable):
    """A database server kept failing and is left alone for a while. Read elsewhere; retry a write later."""

    def __init__(self, dependency: str, *, retry_in_s: float) -> None:
        CircuitOpen.__init__(self, dependency, retry_in_s=retry_in_s)
        self.endpoint = dependency.removeprefix("postgres:")
        self.problem = "kept failing and is left alone"


class EpochMoved(StorageError):
    """Redis was away again: another epoch of its keys is in force. Begin anew."""

    retryable = True

    def __init__(self, epoch: str) -> None:
        super().__init__(f"the epoch {epoch} of the cache's keys is no longer in force: Redis was away again.")
        self.epoch = epoch


class CacheShunned(CircuitOpen, CacheUnavailable):
    """The cache kept failing and is left alone for a while. Answer from the database."""
