from __future__ import annotations

import pytest
from pydantic import ValidationError

from storage.config import StorageConfig


class TestStorageConfig:
    def test_twenty_connections_and_ten_more_five_seconds_an_hour_and_a_minute(self) -> None:
        config = StorageConfig()
        figures = (config.pool_size, config.pool_overflow, config.acquire_timeout_s, config.connection_lifetime_s)
        assert (*figures, config.lag_limit_s, config.slow_query_ms) == (20, 10, 5, 3600, 60, 100)

    def test_a_floor_above_the_size_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="pool_floor 3 exceeds pool_size 2"):
            StorageConfig(pool_size=2, pool_floor=3)

    def test_an_unknown_field_is_refused(self) -> None:
        with pytest.raises(ValidationError, match="pool_max"):
            StorageConfig.model_validate({"pool_max": 5})
