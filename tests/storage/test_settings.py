from __future__ import annotations

import pytest

from storage.errors import SettingMissing
from storage.settings import StorageSettings


class TestFromEnvironment:
    def test_every_variable_is_read(self) -> None:
        expected = StorageSettings("postgresql://a", ("postgresql://b", "postgresql://c"), "redis://d")
        assert expected == StorageSettings.from_environment(
            {
                "SHORTLIST_DATABASE_URL": "postgresql://a",
                "SHORTLIST_REPLICA_URLS": "postgresql://b, postgresql://c,",
                "SHORTLIST_REDIS_URL": "redis://d",
            }
        )

    def test_a_dsn_may_name_several_hosts(self) -> None:
        either = "postgresql://u@/d?host=/a,/b&port=1,2&target_session_attrs=standby"
        settings = StorageSettings.from_environment(
            {"SHORTLIST_DATABASE_URL": "postgresql://a", "SHORTLIST_REPLICA_URLS": f"{either}, postgres://c,d/e"}
        )
        assert settings.replica_urls == (either, "postgres://c,d/e")

    def test_replicas_and_redis_may_be_empty(self) -> None:
        settings = StorageSettings.from_environment(
            {"SHORTLIST_DATABASE_URL": "postgresql://a", "SHORTLIST_REPLICA_URLS": "", "SHORTLIST_REDIS_URL": ""}
        )
        assert settings == StorageSettings("postgresql://a", (), None)

    def test_a_missing_database_is_named(self) -> None:
        with pytest.raises(SettingMissing, match="SHORTLIST_DATABASE_URL"):
            StorageSettings.from_environment({"SHORTLIST_DATABASE_URL": " "})
