"""Prices as decimals, the way they are stored."""

from __future__ import annotations

from decimal import Decimal


def exact(price: float) -> Decimal:
    """Return the decimal that *price* was written as: 9.95 and not 9.949999999999999289457264."""
    return Decimal(repr(price))
