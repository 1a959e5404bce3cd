from __future__ import annotations

import logging

import pytest

from storage.breakers import Breakers


class TestBreakers:
    def test_each_dependency_has_one(self) -> None:
        breakers = Breakers()
        assert breakers.of("redis") is breakers.of("redis")
        for _ in range(5):
            breakers.of("redis").admit().failed()
        breakers.of("semantic")
        assert {name: status.state for name, status in breakers.status().items()} == {
            "redis": "open",
            "semantic": "closed",
        }

    def test_a_change_of_state_is_a_line_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        now = 0.0
        breakers = Breakers(clock=lambda: now)
        with caplog.at_level(logging.INFO, logger="storage.breakers"):
            for _ in range(5):
                breakers.of("redis").admit().failed()
            now = 30.0
            for _ in range(3):
                breakers.of("redis").begin_background_probe().succeeded()
        lines = [(record.levelname, record.getMessage().split(" after ")[0]) for record in caplog.records]
        assert lines == [
            ("WARNING", "breaker redis: closed -> open"),
            ("INFO", "breaker redis: open -> half_open"),
            ("INFO", "breaker redis: half_open -> closed"),
        ]
