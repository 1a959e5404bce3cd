"""Products as they are shown and as they are written."""

# Pydantic reads these annotations at run time.
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from catalogue.fields import Attributes, CreationTime, Currency, ImageUrl, Label, Paragraphs, Price, Title
from contracts.text import Id

_EXAMPLE: dict[str, JsonValue] = {
    "title": "Trail running shoe",
    "description": "Light, with a firm grip on wet rock.",
    "category": "Shoes",
    "brand": "Fell",
    "price": 89.95,
    "currency": "EUR",
    "in_stock": True,
    "image_url": "https://shop.example/images/p-1001.jpg",
    "created_at": "2026-01-31T09:30:00Z",
    "attributes": {"colours": ["red", "black"], "weight_g": 240, "vegan": True},
}


class Product(BaseModel):
    """A product as it is shown."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"id": "p-1001", **_EXAMPLE}]})

    id: Annotated[str, Field(description="Names the product.")]
    title: str
    description: str | None = None
    category: str | None = None
    brand: str | None = None
    price: float | None = None
    currency: Annotated[str | None, Field(description="ISO 4217 code.")] = None
    in_stock: bool = True
    image_url: str | None = None
    created_at: Annotated[datetime, Field(description="Since when it has existed; freshness counts from here.")]
    attributes: Annotated[dict[str, Any], Field(description="Whatever else is known of it.")] = {}


class ProductWrite(BaseModel):
    """A product as a shop writes it, whole: what is left out is cleared, but for `created_at` and `hidden`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra={"examples": [_EXAMPLE]})

    id: Annotated[Id | None, Field(description="Names the product. Where the path names it, the same or left out.")] = (
        None
    )
    title: Annotated[Title, Field(description="Searched with the highest weight.")]
    description: Annotated[Paragraphs | None, Field(description="Plain text.")] = None
    category: Annotated[Label | None, Field(description="What the category filter compares with.")] = None
    brand: Label | None = None
    price: Annotated[Price | None, Field(description="At most ten digits before the point and four after.")] = None
    currency: Annotated[Currency | None, Field(description="ISO 4217 code.")] = None
    in_stock: Annotated[bool, Field(description="What is out of stock is not shown unless asked for.")] = True
    hidden: Annotated[bool | None, Field(description="Never shown. Left out: as it was; false at first.")] = None
    image_url: Annotated[ImageUrl | None, Field(description="An http(s) URL, or a path relative to the shop.")] = None
    created_at: Annotated[
        CreationTime | None,
        Field(description="RFC 3339, with a zone. Left out: as it was; the time of writing at first."),
    ] = None
    attributes: Annotated[
        Attributes,
        Field(description="Strings, numbers, booleans, lists of strings; their words are searched."),
    ] = {}

    def named(self, product_id: str) -> "BatchProduct":
        """
        Return this product under the id that the path of the request gives.

        Raises:
            ValueError: it names another id itself.
        """
        if self.id not in (None, product_id):
            raise ValueError("must equal the id in the path, or be left out")
        return BatchProduct.model_construct(**{**dict(self), "id": product_id})


class BatchProduct(ProductWrite):
    """A product of a batch or an import, which has to name itself."""

    id: Annotated[Id, Field(description="Names the product.")]
