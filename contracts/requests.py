"""The read requests, as clients send them. Ids are strings; what is not listed is refused."""

# Pydantic reads these annotations at run time.
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from contracts.consistency import ConsistencyToken
from contracts.text import Id, printable

MAX_QUERY_LENGTH = 500
MAX_IDS = 200
MAX_CURSOR_LENGTH = 512


def _present(text: str) -> str:
    if not text.strip():
        raise ValueError("must contain something other than white space")
    return text


def _token(text: str | None) -> str | None:
    return None if text is None else str(ConsistencyToken.parse(text))


QueryText = Annotated[
    str, Field(min_length=1, max_length=MAX_QUERY_LENGTH), AfterValidator(printable), AfterValidator(_present)
]
Category = Annotated[str, Field(min_length=1, max_length=256), AfterValidator(printable)]
Price = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
Degradation = Literal["allow", "forbid"]


class ReadRequest(BaseModel):
    """What searches and recommendations have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    limit: Annotated[int, Field(ge=1, le=100, description="Most hits to return.")] = 10
    explain: Annotated[bool, Field(description="Say how each score came about.")] = False
    category: Annotated[Category | None, Field(description="Only products of this category.")] = None
    price_min: Annotated[Price | None, Field(description="Only products at this price or above.")] = None
    price_max: Annotated[Price | None, Field(description="Only products at this price or below.")] = None
    in_stock: Annotated[
        bool | None,
        Field(description="true: only products in stock, as by default; false: only products out of stock."),
    ] = None
    degradation: Annotated[
        Degradation, Field(description="`forbid` turns an answer that may differ from the healthy one into 503.")
    ] = "allow"
    timeout_ms: Annotated[int, Field(ge=10, le=30_000, description="The request's deadline.")] = 1000
    cursor: Annotated[
        str | None,
        Field(min_length=1, max_length=MAX_CURSOR_LENGTH, description="`next_cursor` of the page before this one."),
    ] = None
    consistency_token: Annotated[
        str | None,
        AfterValidator(_token),
        Field(description="`X-Consistency-Token` of a write, which the answer must see. The header does the same."),
    ] = None

    @field_validator("price_max")
    @classmethod
    def _prices_in_order(cls, price_max: float | None, info: ValidationInfo) -> float | None:
        price_min = info.data.get("price_min")
        if price_min is not None and price_max is not None and price_min > price_max:
            raise ValueError("price_min must not be above price_max")
        return price_max

    @property
    def filtered(self) -> bool:
        """Whether any filter narrows the catalogue."""
        return any(value is not None for value in (self.category, self.price_min, self.price_max, self.in_stock))


class SearchRequest(ReadRequest):
    """A search: products that answer a query, for one user if one is named."""

    q: Annotated[QueryText, Field(description="The query.", examples=["space adventure"])]
    user_id: Annotated[Id | None, Field(description="Rank for this user.")] = None
    mode: Annotated[
        Literal["hybrid", "keyword", "semantic"], Field(description="Which retrievers look for candidates.")
    ] = "hybrid"


class RecommendationRequest(ReadRequest):
    """Recommendations: for a user, like some products, or popular."""

    user_id: Annotated[Id | None, Field(description="Recommend for this user.")] = None
    product_ids: Annotated[
        list[Id] | None, Field(min_length=1, max_length=MAX_IDS, description="Recommend products like these.")
    ] = None
    type: Annotated[
        Literal["for_user", "similar", "popular"] | None,
        Field(description="Default: `for_user` with a user, `similar` with products, else `popular`."),
    ] = None
    exclude_ids: Annotated[list[Id], Field(max_length=1000, description="Products that must not appear.")] = []

    @field_validator("type")
    @classmethod
    def _has_its_subject(cls, kind: str | None, info: ValidationInfo) -> str | None:
        needed = {"for_user": "user_id", "similar": "product_ids"}.get(kind or "")
        # A subject that is there but not valid is named by itself.
        if needed in info.data and info.data[needed] is None:
            raise ValueError(f"{kind} needs {needed}")
        return kind

    @property
    def kind(self) -> Literal["for_user", "similar", "popular"]:
        """The type asked for, or what the request's subject implies."""
        if self.type is not None:
            return self.type
        if self.user_id is not None:
            return "for_user"
        return "similar" if self.product_ids else "popular"
