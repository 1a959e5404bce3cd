"""Settings of the embedded Postgres servers."""

from __future__ import annotations

from collections.abc import Mapping

# A pool is 20 connections + 10 overflow, and its watcher holds one beside it.
CONNECTIONS_A_PROCESS = 20 + 10 + 1
# The gateway, search, recommendation and ingestion, two replicas each.
SERVING_PROCESSES = 4 * 2
# While new replicas start beside the old ones there are half as many again.
SURGE = 1.5
# Imports, migrations, maintenance, training jobs and psql, and the three that Postgres keeps for superusers.
JOB_CONNECTIONS = 28

MAX_CONNECTIONS = int(CONNECTIONS_A_PROCESS * SERVING_PROCESSES * SURGE) + JOB_CONNECTIONS
"""31 x 8 x 1.5 + 28 = 400 on each server: after a promotion, or without a replica, one of them may serve all."""

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": str(MAX_CONNECTIONS),
    "shared_buffers": "64MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    # A replica that is away for longer is rebuilt; the primary's disk is not filled for it.
    "max_slot_wal_keep_size": "1GB",
    # What a replaced primary needs to be rewound to where its successor took over.
    "wal_keep_size": "128MB",
    "jit": "off",
    "wal_retrieve_retry_interval": "200ms",
    "hot_standby_feedback": "on",
    "log_line_prefix": "%m [%p] %a ",
    "log_checkpoints": "off",
    "log_timezone": "UTC",
    "timezone": "UTC",
}
