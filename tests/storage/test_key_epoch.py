from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from storage.cache import Cache
from storage.key_epoch import EPOCH_KEY, NOT_AWAY, KeyEpoch, began_at, parted, stored_key
from tests.servers import Servers
from tests.small_catalogue import redis_of


class TestStoredKey:
    def test_what_a_name_is_made_of_can_be_told_from_it(self) -> None:
        assert parted(stored_key("17-ab", "features:1:a:b:17")) == ("17-ab", "features:1:a:b:17")

    @pytest.mark.parametrize(
        "name", [EPOCH_KEY, "features:1:p1:17", "shortlist:17-ab", "shortlist:ab:k", "17-ab:k", ""]
    )
    def test_other_names_are_not_the_caches(self, name: str) -> None:
        assert parted(name) is None


class TestKeyEpoch:
    def test_before_the_server_was_asked_nothing_is_settled(self) -> None:
        epoch = KeyEpoch()
        assert not epoch.settled
        assert epoch.question().arguments[:2] == (0, NOT_AWAY)

    def test_it_is_away_since_the_last_loss(self) -> None:
        now = [100.0]
        epoch = KeyEpoch(clock=lambda: now[0])
        for now[0] in (101.0, 102.0):
            epoch.lost()
        now[0] = 104.5
        assert epoch.question().arguments[:2] == (0, 2500)
        epoch.answered(epoch.question(), "17-ab")
        assert epoch.question().arguments[:2] == (17, NOT_AWAY)

    def test_an_outage_during_the_question_is_not_forgotten(self) -> None:
        epoch = KeyEpoch()
        question = epoch.question()
        epoch.lost()
        epoch.answered(question, "17-ab")
        assert not epoch.settled
        epoch.answered(epoch.question(), "18-ab")
        assert epoch.settled

    def test_a_later_epoch_is_taken_over_and_an_earlier_one_is_not(self) -> None:
        epoch = KeyEpoch()
        epoch.answered(epoch.question(), "17-ab")
        assert not epoch.saw("17-ab", b"18-cd")
        assert (epoch.current, epoch.settled, epoch.moves) == ("18-cd", True, 1)
        assert not epoch.saw("18-cd", b"17-ab")
        assert (epoch.current, epoch.settled) == ("18-cd", False)

    @pytest.mark.parametrize("seen", [None, b"", b"garbage", b"\xff"])
    def test_a_server_that_knows_none_is_asked_to_settle_one(self, seen: bytes | None) -> None:
        epoch = KeyEpoch()
        epoch.answered(epoch.question(), "17-ab")
        assert not epoch.saw("17-ab", seen)
        assert (epoch.current, epoch.settled) == ("17-ab", False)

    def test_a_late_answer_of_an_epoch_that_was_left_counts_for_nothing(self) -> None:
        epoch = KeyEpoch()
        epoch.answered(epoch.question(), "18-ab")
        assert not epoch.saw("17-ab", b"17-ab")
        assert epoch.settled


def lost_a_while_ago(cache: Cache) -> None:
    """Have it that *cache* lost the server half a minute ago, as long as a breaker stays open."""
    cache._epoch.lost()
    assert cache._epoch._lost_at is not None
    cache._epoch._lost_at -= 30


async def closed(caches: list[Cache]) -> None:
    await asyncio.gather(*(cache.close() for cache in caches))


class TestSharedEpoch:
    async def test_all_processes_share_one(self, servers: Servers, cache: Cache) -> None:
        caches = [Cache(servers.redis_url, timeout_s=10) for _ in range(8)]
        await asyncio.gather(*(each.set_many({f"k{number}": b"v"}, 60) for number, each in enumerate(caches)))
        assert len({each.key_epoch for each in caches}) == 1
        assert await cache.get_many([f"k{number}" for number in range(8)]) == [b"v"] * 8
        await closed(caches)

    async def test_of_many_that_come_back_one_moves_it_and_all_follow(self, servers: Servers, cache: Cache) -> None:
        caches = [Cache(servers.redis_url, timeout_s=10) for _ in range(8)]
        await cache.set_many({"old": b"v"}, 60)
        assert [await each.get_many(["old"]) for each in caches] == [[b"v"]] * 8
        before = cache.key_epoch
        for each in caches:
            lost_a_while_ago(each)
        read = await asyncio.gather(*(each.get_many(["old"]) for each in caches for _ in range(10)))
        assert read == [[None]] * 80
        assert {each.key_epoch for each in caches} == {await epoch_of(cache)} != {before}
        assert {each.epoch_moves for each in caches} == {1}
        # One that has not noticed anything follows with its next call.
        assert await cache.get_many(["old"]) == [None]
        assert cache.key_epoch == caches[0].key_epoch
        await closed(caches)

    async def test_what_is_written_after_the_return_is_read(self, cache: Cache) -> None:
        await cache.set_many({"k": b"old"}, 60)
        cache._epoch.lost()
        assert await cache.set_many({"k": b"new"}, 60)
        assert await cache.get_many(["k"]) == [b"new"]

    async def test_old_keys_stay_where_they_are(self, cache: Cache) -> None:
        await cache.set_many({"k": b"old"}, 60)
        before = cache.key_epoch
        assert before is not None
        cache._epoch.lost()
        await cache.get_many(["k"])
        assert await redis_of(cache).get(stored_key(before, "k")) == b"old"

    async def test_nothing_is_written_into_an_epoch_that_another_process_has_left(
        self, servers: Servers, cache: Cache
    ) -> None:
        other = Cache(servers.redis_url, timeout_s=10)
        await other.get_many(["k"])
        await cache.get_many(["k"])
        cache._epoch.lost()
        await cache.get_many(["k"])
        assert not await other.set_many({"k": b"v"}, 60)
        assert await other.set_many({"k": b"v"}, 60)
        assert await cache.get_many(["k"]) == [b"v"]
        await other.close()

    @pytest.mark.parametrize("spoil", ["flush", "garbage", "list", "earlier"])
    async def test_a_server_that_has_lost_the_epoch_gets_a_later_one(self, cache: Cache, spoil: str) -> None:
        await cache.set_many({"k": b"v"}, 60)
        before = cache.key_epoch
        if spoil == "flush":
            await redis_of(cache).flushdb()
        else:
            await redis_of(cache).delete(EPOCH_KEY)
        if spoil == "garbage":
            await redis_of(cache).set(EPOCH_KEY, b"\xff garbage")
        if spoil == "list":
            await redis_of(cache).rpush(EPOCH_KEY, "17-ab")
        if spoil == "earlier":
            await redis_of(cache).set(EPOCH_KEY, "17-ab")
        assert await cache.get_many(["k"]) == [None]
        assert await cache.get_many(["k"]) == [None]
        assert began_at(cache.key_epoch) > began_at(before)
        assert cache.key_epoch == await epoch_of(cache)
        assert await cache.set_many({"k": b"v"}, 60)
        assert await cache.get_many(["k"]) == [b"v"]

    async def test_those_that_began_during_the_outage_trust_what_the_first_of_them_moved(
        self, servers: Servers, cache: Cache
    ) -> None:
        old = f"{(int(time.time()) - 3600) * 1000}-ab"
        await redis_of(cache).set(EPOCH_KEY, old)
        await redis_of(cache).set(stored_key(old, "k"), b"old")
        new = [Cache(servers.redis_url, timeout_s=10) for _ in range(2)]
        for each in new:
            lost_a_while_ago(each)
        for each in new:
            assert await each.get_many(["k"]) == [None]
        assert new[0].key_epoch == new[1].key_epoch != old
        await closed(new)

    @pytest.mark.parametrize("has_read", [True, False])
    async def test_what_another_moved_before_the_outage_is_not_trusted_after_it(
        self, servers: Servers, cache: Cache, has_read: bool
    ) -> None:
        """However little the process has had to do with the server until then."""
        other = Cache(servers.redis_url, timeout_s=10)
        if has_read:
            await cache.get_many(["k"])
        await asyncio.sleep(0.01)
        other._epoch.lost()
        await asyncio.sleep(0.01)
        assert await other.set_many({"k": b"old"}, 60)
        await asyncio.sleep(0.01)
        cache._epoch.lost()
        assert await cache.get_many(["k"]) == [None]
        assert began_at(cache.key_epoch) > began_at(other.key_epoch)
        await other.close()

    async def test_one_that_began_in_the_future_is_not_trusted(self, cache: Cache) -> None:
        """The server's clock was put back, so that nobody can tell whether it began before the outage."""
        future = f"{(int(time.time()) + 3600) * 1000}-ab"
        await redis_of(cache).set(EPOCH_KEY, future)
        await redis_of(cache).set(stored_key(future, "k"), b"old")
        cache._epoch.lost()
        assert await cache.get_many(["k"]) == [None]
        assert began_at(cache.key_epoch) == began_at(future) + 1


class Processes(RuleBasedStateMachine):
    """Several processes and one server that is lost, emptied and put back as it was; the model is one clock."""

    url = ""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.caches: list[Cache] = []
        self.now = 0
        self.lost_at: dict[int, int] = {}
        self.copy: dict[bytes, bytes] = {}
        self.runner.run(self._empty())

    @rule(process=st.integers(0, 3), key=st.sampled_from("ab"))
    def write(self, process: int, key: str) -> None:
        self.now += 1
        self.runner.run(self.caches[process].set_many({key: str(self.now).encode()}, 60))

    @rule(process=st.integers(0, 3), key=st.sampled_from("ab"))
    def read(self, process: int, key: str) -> None:
        """Nothing that was written before the process lost the server is ever read."""
        (value,) = self.runner.run(self.caches[process].get_many([key]))
        assert value is None or int(value) > self.lost_at.get(process, 0)

    @rule(
        noticed_by=st.sets(st.integers(0, 3), min_size=1), returns=st.sampled_from(["as it was", "empty", "restored"])
    )
    def outage(self, noticed_by: set[int], returns: str) -> None:
        self.now += 1
        for process in noticed_by:
            self.lost_at[process] = self.now
            self.caches[process]._epoch.lost()
        if returns != "as it was":
            self.runner.run(self._replaced({} if returns == "empty" else self.copy))

    @rule()
    def copied(self) -> None:
        self.copy = self.runner.run(self._content())

    @rule(process=st.integers(0, 3))
    def restart(self, process: int) -> None:
        """A process that begins has lost nothing yet."""
        self.runner.run(self.caches[process].close())
        self.caches[process] = Cache(self.url, timeout_s=10)
        self.lost_at.pop(process, None)

    @rule(key=st.sampled_from("ab"))
    def all_agree(self, key: str) -> None:
        """Once everybody has made two calls, all share an epoch, and what one writes all read."""
        for _ in range(2):
            for cache in self.caches:
                self.runner.run(cache.get_many([key]))
        assert len({cache.key_epoch for cache in self.caches}) == 1
        self.now += 1
        assert self.runner.run(self.caches[0].set_many({key: str(self.now).encode()}, 60))
        for cache in self.caches:
            assert self.runner.run(cache.get_many([key])) == [str(self.now).encode()]

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.run(closed(self.caches))
            self.runner.close()

    async def _empty(self) -> None:
        self.caches = [Cache(self.url, timeout_s=10) for _ in range(4)]
        await redis_of(self.caches[0]).flushdb()

    async def _content(self) -> dict[bytes, bytes]:
        redis: Any = redis_of(self.caches[0])
        return {key: await redis.get(key) for key in await redis.keys()}

    async def _replaced(self, content: dict[bytes, bytes]) -> None:
        redis = redis_of(self.caches[0])
        await redis.flushdb()
        for key, value in content.items():
            await redis.set(key, value)


def test_no_history_lets_a_process_read_what_was_written_before_it_lost_the_server(servers: Servers) -> None:
    Processes.url = servers.redis_url
    run_state_machine_as_test(
        Processes,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


async def epoch_of(cache: Cache) -> str:
    redis: Any = redis_of(cache)
    return str((await redis.get(EPOCH_KEY)).decode())
