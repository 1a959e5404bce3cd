"""The arithmetic of ``bench.beside_training``; the measurement itself takes a stack and minutes."""

from __future__ import annotations

from bench.beside_training import QUIET, TRAINING, Phase, Result
from bench.open_loop import Reply


def phase(name: str, ms: list[float], *, status: int = 200, low: float = 0.0) -> Phase:
    return Phase(name, [Reply(status, 0.0, each, b"", b"") for each in ms], low, 0.5)


class TestResult:
    def test_phases_of_a_kind_count_together_and_ratios_are_of_the_percentiles(self) -> None:
        quiet = [phase(QUIET, [10.0] * 50), phase(QUIET, [20.0] * 50)]
        busy = [phase(TRAINING, [30.0] * 100, low=0.8), phase(TRAINING, [30.0] * 100, low=0.6)]
        found = Result.of([quiet[0], busy[0], quiet[1], busy[1]])
        assert found.ms[TRAINING] == {"p50": 30.0, "p95": 30.0, "p99": 30.0}
        assert found.ms[QUIET]["p95"] == 20.0
        assert found.ratios["p99"] == 1.5
        assert found.training_cpu == 0.7
        assert (found.asked, found.missing) == (300, 0)
        assert "1.50" in found.text()

    def test_what_has_no_answer_is_missing_and_not_fast(self) -> None:
        found = Result.of([phase(QUIET, [10.0]), phase(TRAINING, [30.0]), phase(TRAINING, [1.0], status=0)])
        assert found.missing == 1
        assert found.ms[TRAINING]["p50"] == 30.0

    def test_a_row_says_how_much_of_the_machine_training_had(self) -> None:
        assert "80%" in phase(TRAINING, [30.0], low=0.8).row()
