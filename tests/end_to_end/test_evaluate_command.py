"""``shortlist evaluate`` on the stack that serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("left_well")]


class TestEvaluateCommand:
    def test_what_is_served_is_what_the_version_in_use_says(self, stack: Stack, tmp_path: Path) -> None:
        found: dict[str, Any] = stack.shortlist.ask("evaluate", "--users=20", f"--out={tmp_path}")
        assert list(found["quality"]["evaluations"])[:2] == ["random", "popularity"]
        agreement = found["agreement"]
        assert agreement["users"] == 20
        assert agreement["cf_furthest"] < 0.001
        assert found["faults"] == []
        assert agreement["cf_compared"] + agreement["vectors"].get("fold_in", 0) > 0
        assert (tmp_path / "recommendations.html").stat().st_size > 5000
