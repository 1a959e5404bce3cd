from __future__ import annotations

import asyncio

import pytest
from ray.core.generated.node_manager_pb2 import DESCRIPTOR

from cluster.serve_settings import PRELOADED as SETTING
from deployments.spare_workers import PRELOADED, SpareWorkers, lacking

GATEWAY = "ray::ServeReplica:shortlist:gateway"
NODE = [GATEWAY, "ray::ServeReplica:shortlist:search", "ray::ServeController", "python -u dashboard/agent.py"]
STARTING = "/venv/bin/python /venv/ray/_private/workers/default_worker.py --node-ip-address=10.0.0.1"


class Node:
    """A node on which every order brings a worker at once; the first *failures* orders fail."""

    def __init__(self, *, wanted: int = 1, failures: int = 0) -> None:
        self.lacking = wanted
        self.orders = 0
        self.failures = failures
        self.enough = asyncio.Event()

    async def order(self) -> None:
        self.orders += 1
        if self.orders <= self.failures:
            raise ConnectionError
        self.lacking -= 1
        if not self.lacking:
            self.enough.set()

    def kept(self) -> SpareWorkers:
        return SpareWorkers(lambda: self.lacking, self.order, wanted=True, period_s=0.01)


async def until_there_are_enough(node: Node) -> None:
    async with asyncio.timeout(10):
        await node.enough.wait()
    node.enough.clear()


class TestLacking:
    def test_one_for_each_replica_on_the_node(self) -> None:
        assert lacking(NODE, GATEWAY) == 1
        assert lacking([*NODE, f"{GATEWAY}.handle_request"], GATEWAY) == 2

    def test_no_more_than_two_for_any_number_of_replicas(self) -> None:
        assert lacking([GATEWAY] * 10, GATEWAY) == 2

    def test_those_that_are_idle_or_starting_are_not_lacking(self) -> None:
        assert lacking([*NODE, "ray::IDLE"], GATEWAY) == 0
        assert lacking([*NODE, STARTING], GATEWAY) == 0

    def test_a_node_without_such_a_replica_needs_none(self) -> None:
        assert lacking(["ray::ServeReplica:shortlist:search"], GATEWAY) == 0


class TestSpareWorkers:
    async def test_as_many_are_ordered_as_are_lacking_and_no_more(self) -> None:
        node = Node(wanted=2)
        spares = node.kept()
        spares.start()
        await until_there_are_enough(node)
        await asyncio.sleep(0.1)
        assert node.orders == 2
        await spares.stop()

    async def test_one_that_was_used_is_followed_by_another(self) -> None:
        node = Node()
        spares = node.kept()
        spares.start()
        await until_there_are_enough(node)
        node.lacking = 1
        await until_there_are_enough(node)
        assert node.orders == 2
        await spares.stop()

    async def test_an_order_that_fails_is_given_again(self) -> None:
        node = Node(failures=2)
        spares = node.kept()
        spares.start()
        await until_there_are_enough(node)
        assert node.orders == 3
        assert spares.alive
        await spares.stop()

    async def test_nothing_is_ordered_where_workers_import_nothing_beforehand(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv(PRELOADED, raising=False)
        spares = SpareWorkers.of_this_node()
        spares.start()
        assert [task for task in asyncio.all_tasks() if task.get_name() == "spare-workers"] == []
        assert spares.alive


class TestRay:
    def test_the_launcher_sets_the_variable_that_is_looked_for(self) -> None:
        assert list(SETTING) == [PRELOADED]

    def test_a_raylet_can_still_be_asked_to_start_workers(self) -> None:
        """Ray has no public way; the request is that of its raylet."""
        method = DESCRIPTOR.services_by_name["NodeManagerService"].methods_by_name["PrestartWorkers"]
        assert {"num_workers", "keep_alive_duration_secs"} <= {field.name for field in method.input_type.fields}
