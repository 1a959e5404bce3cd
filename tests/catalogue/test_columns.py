from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from catalogue.columns import Columns, Kind
from catalogue.errors import ImportRefused

MOMENT = datetime(2020, 1, 31, 9, 30, tzinfo=UTC)


def of_strings(kind: Kind, row: dict[str, object], mapping: dict[str, str] | None = None) -> dict[str, object]:
    return Columns(kind, mapping, only_strings=True).fields(row)


def of_types(kind: Kind, row: dict[str, object], mapping: dict[str, str] | None = None) -> dict[str, object]:
    return Columns(kind, mapping, only_strings=False).fields(row)


class TestMapping:
    def test_a_mapped_column_fills_its_field_and_is_no_attribute(self) -> None:
        assert of_types("products", {"name": "Shoe", "id": "1"}, {"title": "name"}) == {"title": "Shoe", "id": "1"}

    def test_one_column_may_fill_two_fields(self) -> None:
        fields = of_types("products", {"type": "Red"}, {"category": "type", "attributes.type": "type"})
        assert fields == {"category": "Red", "attributes": {"type": "Red"}}

    def test_a_mapping_goes_before_a_column_of_the_fields_name(self) -> None:
        assert of_types("products", {"title": "short", "long": "Long"}, {"title": "long"}) == {"title": "Long"}

    def test_other_columns_of_products_are_attributes_and_of_events_are_passed_over(self) -> None:
        row: dict[str, object] = {"id": "1", "colour": "red", "attributes.size": "L"}
        assert of_types("products", row) == {"id": "1", "attributes": {"colour": "red", "size": "L"}}
        assert of_types("events", row) == {"id": "1"}

    def test_an_attributes_column_and_others_go_together(self) -> None:
        row: dict[str, object] = {"attributes": {"a": 1}, "b": 2}
        assert of_types("products", row) == {"attributes": {"a": 1, "b": 2}}

    def test_a_constant_fills_every_row(self) -> None:
        assert of_types("events", {}, {"type": "=rating", "value": "=5"}) == {"type": "rating", "value": 5.0}

    def test_a_field_that_does_not_exist_is_refused(self) -> None:
        with pytest.raises(ImportRefused, match="'titel': fields of products are id, title"):
            Columns("products", {"titel": "name"}, only_strings=True)

    def test_missing_columns_are_those_mapped_and_not_there(self) -> None:
        columns = Columns("events", {"user_id": "u", "type": "=view", "id": "e"}, only_strings=True)
        assert columns.missing_from(["e", "x"]) == ["u"]


class TestStrings:
    @pytest.mark.parametrize(
        ("field", "text", "expected"),
        [
            ("id", "007", "007"),
            ("title", " Shoe ", "Shoe"),
            ("price", "12.50", 12.5),
            ("price", "0.427142857", 0.4271),
            ("price", "a lot", "a lot"),
            ("price", "1_000", "1_000"),
            ("in_stock", "Yes", True),
            ("in_stock", "0", False),
            ("in_stock", "maybe", "maybe"),
            ("created_at", "2020-01-31", datetime(2020, 1, 31, tzinfo=UTC)),
            ("created_at", "2020-01-31 09:30:00", MOMENT),
            ("created_at", "last year", "last year"),
            ("attributes", '{"a": [1]}', {"a": [1]}),
        ],
    )
    def test_values_are_read_from_text(self, field: str, text: str, expected: object) -> None:
        assert of_strings("products", {field: text}) == {field: expected}

    @pytest.mark.parametrize("text", ["", "  "])
    def test_empty_is_absent(self, text: str) -> None:
        assert of_strings("products", dict.fromkeys(("id", "price", "in_stock", "created_at", "colour"), text)) == {}

    def test_attributes_stay_text_unless_they_are_lists(self) -> None:
        fields = of_strings("products", {"code": "007", "sizes": '["S", "M"]', "note": "[sic"})
        assert fields == {"attributes": {"code": "007", "sizes": ["S", "M"], "note": "[sic"}}

    @pytest.mark.parametrize("text", ["1580463000", "1580463000.0", "2020-01-31T10:30:00+01:00"])
    def test_times_of_events_may_be_unix_seconds(self, text: str) -> None:
        assert of_strings("events", {"timestamp": text}) == {"timestamp": MOMENT}

    def test_a_number_beyond_all_time_is_left_to_validation(self) -> None:
        assert of_strings("events", {"timestamp": "1e300"}) == {"timestamp": "1e300"}


class TestTypes:
    def test_whole_numbers_are_ids(self) -> None:
        assert of_types("events", {"user_id": 7, "product_id": 7.0, "id": "7"}) == {
            "user_id": "7",
            "product_id": "7",
            "id": "7",
        }

    def test_text_is_no_number(self) -> None:
        assert of_types("events", {"value": "5"}) == {"value": "5"}

    def test_null_nan_and_blank_are_absent(self) -> None:
        assert (
            of_types("products", {"price": float("nan"), "brand": None, "category": "", "colour": float("nan")}) == {}
        )

    def test_times_without_a_zone_are_utc(self) -> None:
        naive = MOMENT.replace(tzinfo=None)
        assert of_types("products", {"created_at": naive}) == {"created_at": MOMENT}
        assert of_types("products", {"created_at": date(2020, 1, 31)}) == {
            "created_at": datetime(2020, 1, 31, tzinfo=UTC)
        }

    def test_attributes_become_what_json_knows(self) -> None:
        fields = of_types("products", {"a": date(2020, 1, 31), "b": Decimal("1.5"), "c": [1, "x", None]})
        assert fields == {"attributes": {"a": "2020-01-31", "b": 1.5, "c": ["1", "x"]}}
