from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from catalogue.products import BatchProduct, ProductWrite

FULL: dict[str, Any] = {
    "id": "p1",
    "title": "Shoe",
    "description": "Light.\n\tDry.",
    "category": "Shoes",
    "brand": "Fell",
    "price": 89.95,
    "currency": "EUR",
    "in_stock": False,
    "hidden": True,
    "image_url": "https://shop.example/p1.jpg",
    "created_at": "2020-01-31T10:30:00+01:00",
    "attributes": {"colours": ["red"], "weight": 240, "vegan": True, "sole": "rubber", "drop": 4.5, "none": []},
}


def complaint(**fields: object) -> tuple[str, str]:
    """Field and reason of the first error of a product with *fields*."""
    with pytest.raises(ValidationError) as caught:
        ProductWrite.model_validate({"title": "T", **fields})
    error = caught.value.errors()[0]
    return ".".join(map(str, error["loc"])), error["msg"]


class TestProductWrite:
    def test_only_the_title_is_required(self) -> None:
        product = ProductWrite.model_validate({"title": "Shoe"})
        assert (product.id, product.in_stock, product.hidden, product.attributes) == (None, True, None, {})
        with pytest.raises(ValidationError):
            ProductWrite.model_validate({})

    def test_every_field_is_kept(self) -> None:
        product = ProductWrite.model_validate(FULL)
        assert dict(product) == {**FULL, "created_at": datetime(2020, 1, 31, 9, 30, tzinfo=UTC)}

    @pytest.mark.parametrize(
        ("field", "value", "reason"),
        [
            ("title", "", "at least 1 character"),
            ("title", "   ", "white space"),
            ("title", "a\nb", "control characters"),
            ("title", "x" * 1001, "at most 1000"),
            ("title", 5, "valid string"),
            ("title", "\ud800", ""),
            ("id", "x" * 129, "at most 128"),
            ("id", "", "at least 1"),
            ("id", "a\x00", "control characters"),
            ("id", 5, "valid string"),
            ("description", "a\x00b", "control characters"),
            ("description", "x" * 20_001, "at most 20000"),
            ("price", -1, "greater than or equal to 0"),
            ("price", "1", "valid number"),
            ("price", True, "valid number"),
            ("price", float("nan"), "finite number"),
            ("price", float("inf"), "finite number"),
            ("price", 1e10, "less than"),
            ("price", 1.00001, "four decimals"),
            ("currency", "EURO", "three letters"),
            ("currency", "€€€", "three letters"),
            ("in_stock", 1, "valid boolean"),
            ("in_stock", None, "valid boolean"),
            ("image_url", "javascript:alert(1)", "http or https"),
            ("image_url", "//other.example/x", "http or https"),
            ("image_url", "data:image/png;base64,AA", "http or https"),
            ("image_url", "/\\other.example", "http or https"),
            ("image_url", "https://a b", "http or https"),
            ("created_at", "2020-01-31", "such as 2026-01-31T09:30:00Z"),
            ("created_at", "2020-01-31T10:00:00", "with a zone"),
            ("created_at", "2020-02-30T10:00:00Z", "no moment of the calendar"),
            ("created_at", 1580000000, "valid datetime"),
            ("created_at", "3000-01-01T00:00:00Z", "in the future"),
            ("created_at", "0999-01-01T00:00:00Z", "before the year 1000"),
            ("attributes", {"a": None}, "a: must be a string"),
            ("attributes", {"a": {"b": 1}}, "a: must be a string"),
            ("attributes", {"a": [1]}, "a: must be a string"),
            ("attributes", {"a": "x\x00"}, "a: must not contain control"),
            ("attributes", {"a": ["x\x00"]}, "a: must not contain control"),
            ("attributes", {"a": "\ud800"}, "invalid Unicode"),
            ("attributes", {"a": float("nan")}, "a: a number"),
            ("attributes", {"a": 2**60}, "a: a number"),
            ("attributes", {"a": 10**400}, "a: a number"),
            ("price", 10**400, ""),
            ("attributes", {"": 1}, "a key must have"),
            ("attributes", {"a\x00": 1}, "a key must not"),
            ("attributes", {"a": "x" * 2001}, "at most 2000"),
            ("attributes", {str(number): 1 for number in range(101)}, "at most 100 keys"),
            ("attributes", {str(number): "x" * 2000 for number in range(40)}, "at most 65536 bytes"),
            ("colour", "red", "not permitted"),
        ],
    )
    def test_what_is_wrong_is_named_by_field(self, field: str, value: object, reason: str) -> None:
        named, said = complaint(**{field: value})
        assert named == field
        assert reason in said

    @pytest.mark.parametrize(
        "url", ["/images/1.jpg", "images/1.jpg", "1.jpg", "http://a.example/x?y=1#z", "images/a:b"]
    )
    def test_urls_and_relative_paths_are_taken(self, url: str) -> None:
        assert ProductWrite(title="T", image_url=url).image_url == url

    def test_a_currency_is_written_in_capitals(self) -> None:
        assert ProductWrite(title="T", currency="eur").currency == "EUR"

    def test_windows_line_ends_become_newlines(self) -> None:
        assert ProductWrite(title="T", description="a\r\nb").description == "a\nb"

    def test_the_path_names_it(self) -> None:
        assert ProductWrite(title="T").named("p1") == BatchProduct(id="p1", title="T")
        assert ProductWrite(id="p1", title="T").named("p1").id == "p1"
        with pytest.raises(ValueError, match="must equal the id in the path"):
            ProductWrite(id="p2", title="T").named("p1")

    def test_the_schema_describes_every_limit(self) -> None:
        properties = ProductWrite.model_json_schema()["properties"]
        assert properties["attributes"]["maxProperties"] == 100
        assert properties["created_at"]["anyOf"][0]["format"] == "date-time"


class TestBatchProduct:
    def test_it_has_to_name_itself(self) -> None:
        with pytest.raises(ValidationError, match="id"):
            BatchProduct.model_validate({"title": "T"})
