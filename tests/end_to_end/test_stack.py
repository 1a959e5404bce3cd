from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from cluster.child import wait_until
from tests.stack import Stack

pytestmark = pytest.mark.stack


class TestReadReplica:
    def test_it_is_in_recovery_and_streaming(self, stack: Stack) -> None:
        async def states() -> tuple[bool, str]:
            replica = await asyncpg.connect(stack.replica_urls[0])
            try:
                recovering = await replica.fetchval("select pg_is_in_recovery()")
                streaming = await replica.fetchval("select status from pg_stat_wal_receiver")
            finally:
                await replica.close()
            return recovering, streaming

        assert asyncio.run(states()) == (True, "streaming")


class TestHealth:
    def test_every_part_is_well(self, client: httpx.Client) -> None:
        def health() -> dict[str, Any]:
            body: dict[str, Any] = client.get("/health").json()
            return body

        assert wait_until(lambda: health()["status"] == "ok", timeout_s=90), health()
        body = health()
        assert set(body["databases"]) == {"primary", "replica-1"}
        assert set(body["deployments"]) == {"search", "recommendation", "ranking", "ingestion"}
        assert client.get("/health/ready").json() == {"status": "ready"}


class TestStatus:
    def test_two_replicas_of_each_deployment_run(self, stack: Stack) -> None:
        names = [process["name"] for process in stack.shortlist.ask("status")["processes"]]
        assert {"postgres-primary", "postgres-replica-1", "valkey", "ray-serving", "ray-training"} <= set(names)
        for deployment in ("gateway", "search", "recommendation", "ranking", "ingestion"):
            assert len([name for name in names if name.startswith(f"serve:{deployment}:")]) == 2
