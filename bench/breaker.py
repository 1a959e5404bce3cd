"""
What a circuit breaker costs a call: ``python -m bench.breaker``.

Microseconds a call, the best of five rounds: a permit and its outcome by themselves, the same through `guarded`, and a
refusal.
"""

from __future__ import annotations

import contextlib
import timeit

from storage.circuit_breaker import CircuitBreaker
from storage.errors import CircuitOpen
from storage.guard import guarded

CALLS = 100_000
ROUNDS = 5


def main() -> None:
    """Print the costs."""
    closed, opened = CircuitBreaker("closed"), CircuitBreaker("open")
    for _ in range(opened.rules.consecutive):
        opened.admit().failed()

    def permit() -> None:
        closed.admit().succeeded()

    def block() -> None:
        with guarded(closed, failures=(OSError,)):
            pass

    def refused() -> None:
        with contextlib.suppress(CircuitOpen):
            opened.admit()

    for name, call in (("admit and succeeded", permit), ("guarded block", block), ("refused", refused)):
        best_s = min(timeit.repeat(call, number=CALLS, repeat=ROUNDS))
        print(f"{name:20} {best_s / CALLS * 1e6:6.2f} us")


if __name__ == "__main__":
    main()
