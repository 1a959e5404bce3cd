from __future__ import annotations

import pytest

from bench.fuzz import fuzz
from tests.stack import Stack

pytestmark = pytest.mark.stack


class TestDocument:
    def test_describes_every_answer_of_the_running_stack(self, stack: Stack) -> None:
        fuzzed = fuzz(stack.url, examples=8, number=2)
        assert fuzzed.findings == []
        assert len(fuzzed.requests) == 13
