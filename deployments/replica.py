"""What a replica knows of its own deployment."""

from __future__ import annotations

import math

from ray import serve


def most_replicas() -> int:
    """Return how many replicas this one's deployment may have at once, the extra ones of a rollout included."""
    deployment = serve.get_replica_context()._deployment_config  # noqa: SLF001  Serve offers no public way
    scaling = deployment.autoscaling_config
    most = int((deployment.num_replicas if scaling is None else scaling.max_replicas) or 1)
    return most + math.ceil(most * deployment.max_surge_percent / 100)
