"""Real faults and what clients see of them. The whole matrix: ``python -m bench.chaos``."""

from __future__ import annotations

import time

import pytest

from bench.chaos.experiment import Patience, experiment, wait_well
from bench.chaos.faults import BY_NAME
from bench.chaos.setup import AS_USUAL
from bench.chaos.stream import Stream
from bench.chaos.subject import Subject

pytestmark = pytest.mark.stack

# Of the kinds that no other test does to a whole stack; it sees deaths, and artifacts damaged, in tests/end_to_end.
ALWAYS = ("freeze-redis", "slow-replica", "full-disk")
THE_OTHERS = [name for name, fault in BY_NAME.items() if name not in ALWAYS and fault.setup == AS_USUAL]
PATIENCE = Patience(least_s=5.0, recovery_s=240.0)


def _keeps_the_contract(name: str, subject: Subject, stream: Stream) -> None:
    assert wait_well(stream, since_s=time.monotonic(), timeout_s=240) is not None, "the answers were not well before"
    found = experiment(BY_NAME[name], subject, stream, PATIENCE)
    if found.skipped:
        pytest.skip(found.skipped)
    assert found.reads > 0
    assert found.violations == (), found


class TestFault:
    @pytest.mark.parametrize("name", ALWAYS)
    def test_clients_see_what_the_contract_says_and_nothing_else(
        self, name: str, subject: Subject, stream: Stream
    ) -> None:
        _keeps_the_contract(name, subject, stream)

    @pytest.mark.long
    @pytest.mark.parametrize("name", THE_OTHERS)
    def test_clients_see_of_every_other_one_what_the_contract_says(
        self, name: str, subject: Subject, stream: Stream
    ) -> None:
        _keeps_the_contract(name, subject, stream)
