from __future__ import annotations

import pickle

import pytest

from storage import errors

EVERY = [
    errors.SettingMissing("SHORTLIST_DATABASE_URL"),
    errors.MigrationChanged("0001_catalogue.sql"),
    errors.QueryUnknown("nothing"),
    errors.TimelineChanged(1, 2),
    errors.DatabaseUnavailable("primary", "went away"),
    errors.PoolTimeout("replica-1", "busy"),
    errors.QueryTimeout("any", "late"),
    errors.CacheUnavailable("down"),
    errors.CircuitOpen("semantic", retry_in_s=3),
    errors.DatabaseShunned("postgres:primary", retry_in_s=3),
    errors.CacheShunned("redis", retry_in_s=3),
]


class TestStorageError:
    @pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
    def test_it_arrives_in_another_process_as_it_left(self, error: errors.StorageError) -> None:
        arrived = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
        assert type(arrived) is type(error)
        assert str(arrived) == str(error)
        assert vars(arrived) == vars(error)
