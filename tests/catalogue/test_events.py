from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from catalogue.events import Event, ImportedEvent

VIEW = {"user_id": "u", "product_id": "p", "type": "view"}


class TestEvent:
    def test_user_product_and_type_suffice(self) -> None:
        event = Event.model_validate(VIEW)
        assert (event.id, event.value, event.timestamp, event.request_id) == (None, None, None, None)

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("type", "like", "'view', 'click', 'add_to_cart', 'purchase' or 'rating'"),
            ("user_id", 5, "valid string"),
            ("product_id", "x" * 10_000, "at most 128"),
            ("value", "5", "valid number"),
            ("value", -1, "greater than or equal to 0"),
            ("value", 1e7, "less than or equal to"),
            ("value", float("nan"), "finite"),
            ("timestamp", "3000-01-01T00:00:00Z", "in the future"),
            ("timestamp", "1969-12-31T23:59:59Z", "before the year 1970"),
            ("timestamp", "0001-01-01T00:00:00+14:00", "no moment"),
            ("timestamp", "2020-01-01", "RFC 3339"),
            ("timestamp", 1580000000, "valid datetime"),
            ("colour", "red", "not permitted"),
        ],
    )
    def test_what_is_wrong_is_named_by_field(self, field: str, value: object, reason: str) -> None:
        with pytest.raises(ValidationError) as caught:
            Event.model_validate({**VIEW, field: value})
        error = caught.value.errors()[0]
        assert error["loc"] == (field,)
        assert reason in error["msg"]

    def test_a_rating_needs_its_value(self) -> None:
        with pytest.raises(ValidationError, match="is required for a rating"):
            Event.model_validate({**VIEW, "type": "rating"})

    def test_a_clock_a_little_ahead_is_taken(self) -> None:
        ahead = datetime.now(UTC) + timedelta(hours=23)
        assert Event.model_validate({**VIEW, "timestamp": ahead.isoformat()}).timestamp == ahead

    @pytest.mark.parametrize("text", ["2020-01-31T09:30:00Z", "2020-01-31t10:30:00.000+01:00", "2020-01-31 09:30:00z"])
    def test_times_are_kept_in_utc(self, text: str) -> None:
        event = Event.model_validate({**VIEW, "timestamp": text})
        assert event.timestamp == datetime(2020, 1, 31, 9, 30, tzinfo=UTC)
        assert event.timestamp.tzinfo is UTC


class TestImportedEvent:
    def test_it_has_to_say_when(self) -> None:
        with pytest.raises(ValidationError, match="timestamp"):
            ImportedEvent.model_validate(VIEW)
