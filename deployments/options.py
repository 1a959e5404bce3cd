"""How Serve runs the deployments unless the configuration file says otherwise."""

from __future__ import annotations

from typing import Any

from ray.serve.config import RequestRouterConfig

from deployments import request_router

_ROUTING: dict[str, Any] = {"request_router_class": request_router.PATH}
_COMMON: dict[str, Any] = {
    "health_check_period_s": 10,
    # Three in a row that fail or stay away this long: a replica that hangs is replaced within 40 s, and one that is
    # merely busy would have to keep its event loop from turning for half a minute.
    "health_check_timeout_s": 10,
    # A new replica starts before an old one stops.
    "max_surge_percent": 50,
    "graceful_shutdown_timeout_s": 20,
}

# The gateway refuses by itself what is too much (deployments/admission.py), with a problem document that Serve's own
# answer is not. For that every request must reach it: HAProxy opens no more connections than these.
INGRESS: dict[str, Any] = {
    **_COMMON,
    # Serve finds by a check that a replica has died, and nothing stands in for the last gateway.
    "health_check_period_s": 0.5,
    "max_ongoing_requests": 4096,
    "max_queued_requests": 4096,
}
INNER: dict[str, Any] = {
    **_COMMON,
    "max_ongoing_requests": 100,
    "max_queued_requests": 200,
    "request_router_config": RequestRouterConfig(**_ROUTING),
}
