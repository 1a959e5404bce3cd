"""Events: what users do with products."""

# Pydantic reads these annotations at run time.
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from catalogue.fields import EventTime
from contracts.text import Id

EventType = Literal["view", "click", "add_to_cart", "purchase", "rating"]


class Event(BaseModel):
    """Something a user did. The product may still be unknown: the event counts once the product exists."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [
                {
                    "id": "e-7f3a",
                    "user_id": "u-17",
                    "product_id": "p-1001",
                    "type": "purchase",
                    "value": 2,
                    "timestamp": "2026-01-31T09:30:00Z",
                    "request_id": "6f1d2c",
                }
            ]
        },
    )

    id: Annotated[
        Id | None,
        Field(description="Sent again under the same id, it counts once. Left out: the server makes one."),
    ] = None
    user_id: Annotated[Id, Field(description="Who; known from the first event on.")]
    product_id: Id
    type: EventType
    value: Annotated[
        float | None,
        Field(
            ge=0,
            le=1e6,
            allow_inf_nan=False,
            validate_default=True,
            description="The rating (required for one), or how many.",
        ),
    ] = None
    timestamp: Annotated[
        EventTime | None, Field(description="RFC 3339, with a zone; from 1970 to a day ahead. Left out: now.")
    ] = None
    request_id: Annotated[Id | None, Field(description="`request_id` of the answer that showed the product.")] = None

    @field_validator("value")
    @classmethod
    def _rating_has_a_value(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is None and info.data.get("type") == "rating":
            raise PydanticCustomError("rating_without_value", "is required for a rating")
        return value


class ImportedEvent(Event):
    """An event of a file, which has to say when it happened: else each import would make it anew."""

    timestamp: Annotated[EventTime, Field(description="When it happened.")]
