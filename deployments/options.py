"""How Serve runs the deployments unless the configuration file says otherwise."""

from __future__ import annotations

from typing import Any

_COMMON: dict[str, Any] = {
    "health_check_period_s": 10,
    "health_check_timeout_s": 30,
    # A new replica starts before an old one stops.
    "max_surge_percent": 50,
    "graceful_shutdown_timeout_s": 20,
}

# Serve's own default of 5 ongoing requests collapses an ingress at a hundred requests a second.
INGRESS: dict[str, Any] = {**_COMMON, "max_ongoing_requests": 200, "max_queued_requests": 400}
INNER: dict[str, Any] = {**_COMMON, "max_ongoing_requests": 100, "max_queued_requests": 200}
