"""Users: an id and what is known of them."""

# Pydantic reads these annotations at run time.
import orjson
from pydantic import BaseModel, ConfigDict

from catalogue.fields import Attributes
from contracts.text import Id


class User(BaseModel):
    """A user as an import gives it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    id: Id
    attributes: Attributes = {}


def user_row(user: User) -> tuple[str, str]:
    """Return a user's id and attributes, these as JSON text."""
    return user.id, orjson.dumps(user.attributes).decode()
