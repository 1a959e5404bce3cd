"""What an event says about how much its user cares for its product: training and serving weigh alike."""

from __future__ import annotations

EVENT_WEIGHTS = {"purchase": 3.0, "add_to_cart": 2.0, "view": 1.0, "click": 1.0, "rating": 3.0}
"""Weight by event type; a rating weighs this much at `BEST_RATING`."""

BEST_RATING = 5.0
"""
A rating weighs ``3 (value / 5)^2``: 3, 1.92, 1.08, 0.48 and 0.12 from five stars to one.

So five stars say as much as a purchase, the middle of the scale as much as a view, and a bad rating next to nothing,
yet enough for its user and product to be known.
"""

DEFAULT_HALF_LIFE_DAYS = 30.0
"""On MovieLens-100K counts of this half-life agree best with what the last tenth of events asks for."""


def query_arguments() -> tuple[list[str], list[str], float]:
    """The three parameters of the queries that weigh events; the SQL function event_weight knows what they mean."""
    # Numbers as text: of an array of numbers asyncpg asks each new connection what that is.
    return list(EVENT_WEIGHTS), [repr(weight) for weight in EVENT_WEIGHTS.values()], BEST_RATING


def weights_in_manifest() -> dict[str, object]:
    """The same as a manifest records it."""
    return {**EVENT_WEIGHTS, "rating": {"weight": EVENT_WEIGHTS["rating"], "best": BEST_RATING, "power": 2}}
