"""How the graph is deployed for a fault."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setup:
    """
    How the graph is deployed for a fault.

    Attributes:
        replicas: Deployment to its number of replicas, where it differs from two.
        args: What differs of the graph's arguments.
    """

    replicas: tuple[tuple[str, int], ...] = ()
    args: tuple[tuple[str, Mapping[str, Any]], ...] = ()


AS_USUAL = Setup()
