"""A call under a circuit breaker: which of its ends are the dependency's fault."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from contracts.deadline import out_of_time
from storage.circuit_breaker import CircuitBreaker, Permit
from storage.errors import CircuitOpen, QueryTimeout


@contextmanager
def guarded(
    breaker: CircuitBreaker, *, failures: tuple[type[BaseException], ...], refusal: type[CircuitOpen] = CircuitOpen
) -> Iterator[Permit]:
    """
    Run a block that asks the dependency of *breaker*, and tell the breaker how it went.

    A timeout counts as `Permit.timed_out` says, also one that arrives as a cancellation, out of a `time_limit` further
    out. Any other cancellation, and errors not named here, say nothing of the dependency. A block that knows better
    tells the permit first.

    Args:
        breaker: Asked for the permit.
        failures: Errors that are the dependency's fault.
        refusal: What to raise while the dependency is not to be asked.

    Raises:
        CircuitOpen: the dependency is not to be asked now; of the kind *refusal*.
    """
    permit = breaker.admit(refusal)
    try:
        yield permit
    except BaseException as error:
        if isinstance(error, TimeoutError | QueryTimeout) or (
            isinstance(error, asyncio.CancelledError) and out_of_time()
        ):
            permit.timed_out()
        elif isinstance(error, failures):
            permit.failed()
        else:
            permit.released()
        raise
    permit.succeeded()
