from __future__ import annotations

from catalogue.products import Product
from retrieval.hydration import Hydrator
from storage.database import Database


class TestProducts:
    async def test_products_are_as_clients_see_them(self, database: Database) -> None:
        products, source = await Hydrator(database).products(["p2", "p1", "unheard of"])
        assert source.name == "primary"
        assert sorted(products) == ["p1", "p2"]
        assert products["p2"] == {
            "id": "p2",
            "title": "blue wine",
            "description": None,
            "category": "Drinks",
            "brand": None,
            "price": 1.95,
            "currency": None,
            "in_stock": True,
            "image_url": None,
            "created_at": "2026-01-02T00:00:00+00:00",
            "attributes": {},
        }

    async def test_they_have_exactly_the_fields_of_the_schema(self, database: Database) -> None:
        products, _ = await Hydrator(database).products(["p1"])
        assert products["p1"].keys() == Product.model_fields.keys()

    async def test_one_product_is_read_as_last_written(self, database: Database) -> None:
        hydrator = Hydrator(database)
        product = await hydrator.product_as_written("p3")
        assert product is not None
        assert product["title"] == "red film"
        assert await hydrator.product_as_written("unheard of") is None
