from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from contracts.consistency import ConsistencyToken
from storage.circuit_breaker import CircuitBreaker
from storage.config import StorageConfig
from storage.endpoint import Endpoint
from storage.errors import DatabaseUnavailable
from storage.progress import Progress, first_to_cover
from storage.slow_queries import SlowQueries
from tests.storage.conftest import BreakableServers, frozen

TOKEN = ConsistencyToken(timeline=2, position=100)


@dataclass
class Replica:
    """A replica that comes ten bytes further with each look."""

    position: int = 0
    timeline: int = 2
    stride: int = 10
    looks: int = 0
    fails: bool = False
    progress: Progress = field(init=False)

    def __post_init__(self) -> None:
        self.progress = Progress(self.row)
        self.progress.saw(self.now(), began_at=0.0)

    def now(self) -> Any:  # noqa: ANN401 - stands for a record
        return {"timeline": self.timeline, "position": self.position, "in_recovery": True}

    async def row(self) -> Any:  # noqa: ANN401 - stands for a record
        self.looks += 1
        if self.fails:
            raise DatabaseUnavailable("replica-1", "went away")
        self.position += self.stride
        return self.now()


class TestProgress:
    def test_a_position_covers_what_lies_before_it_on_its_timeline(self) -> None:
        tokens = [ConsistencyToken(2, 99), ConsistencyToken(2, 101), ConsistencyToken(1, 99), ConsistencyToken(3, 99)]
        assert [Replica(100).progress.covers(token) for token in tokens] == [True, False, False, False]

    def test_before_the_first_look_nothing_is_covered(self) -> None:
        progress = Progress(cast("Any", None))
        assert not progress.covers(ConsistencyToken(1, 0))

    def test_what_does_not_answer_covers_nothing(self) -> None:
        replica = Replica(100)
        replica.progress.forget()
        assert not replica.progress.covers(TOKEN)


class TestLook:
    async def test_a_look_at_a_frozen_server_is_given_up_and_the_next_begins(
        self, breakable_servers: BreakableServers
    ) -> None:
        config = StorageConfig(pool_size=1, pool_overflow=0, pool_floor=0)
        replica = breakable_servers.replica
        endpoint = Endpoint(
            "replica-1",
            "replica",
            replica.url(),
            application="test",
            config=config,
            breaker=CircuitBreaker("postgres:test"),
            slow_queries=SlowQueries(60_000),
        )
        await endpoint.open()
        try:
            await endpoint.progress.look()
            assert endpoint.progress.in_recovery
            assert replica.process is not None
            with frozen(replica.process.pid):
                done, _ = await asyncio.wait([endpoint.progress.look()], timeout=20)
                assert len(done) == 1
                assert endpoint.progress.timeline is None
                assert endpoint.pool_status().in_use == 0
            await endpoint.progress.look()
            assert endpoint.progress.in_recovery
        finally:
            await endpoint.close()


class TestFirstToCover:
    async def test_a_replica_that_has_come_so_far_is_not_looked_at(self) -> None:
        replica = Replica(100)
        assert await first_to_cover(TOKEN, [Replica(50), replica], within_s=10) is replica
        assert replica.looks == 0

    async def test_one_that_gets_there_in_time_is_waited_for(self) -> None:
        replica = Replica(70)
        assert await first_to_cover(TOKEN, [replica], within_s=10) is replica

    async def test_readers_side_by_side_share_the_looks(self) -> None:
        replica = Replica(70)
        found = await asyncio.gather(*(first_to_cover(TOKEN, [replica], within_s=10) for _ in range(50)))
        assert found == [replica] * 50
        assert replica.looks == 3

    async def test_one_that_stands_still_is_given_up(self) -> None:
        assert await first_to_cover(TOKEN, [Replica(70, stride=0)], within_s=0.02) is None

    async def test_another_timeline_is_not_waited_for(self) -> None:
        replica = Replica(100, timeline=1)
        assert await first_to_cover(TOKEN, [replica], within_s=10) is None
        assert replica.looks == 0

    async def test_one_that_dies_meanwhile_is_given_up(self) -> None:
        assert await first_to_cover(TOKEN, [Replica(70, fails=True)], within_s=10) is None
