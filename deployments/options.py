"""How Serve runs the deployments unless the configuration file says otherwise."""

from __future__ import annotations

from typing import Any

_COMMON: dict[str, Any] = {
    "health_check_period_s": 10,
    # Three in a row that fail or stay away this long: a replica that hangs is replaced within 40 s, and one that is
    # merely busy would have to keep its event loop from turning for half a minute.
    "health_check_timeout_s": 10,
    # A new replica starts before an old one stops.
    "max_surge_percent": 50,
    "graceful_shutdown_timeout_s": 20,
}

# Serve's own default of 5 ongoing requests collapses an ingress at a hundred requests a second.
INGRESS: dict[str, Any] = {**_COMMON, "max_ongoing_requests": 200, "max_queued_requests": 400}
INNER: dict[str, Any] = {**_COMMON, "max_ongoing_requests": 100, "max_queued_requests": 200}
