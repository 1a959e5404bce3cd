from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from cluster.child import wait_until
from cluster.errors import PromotionRefused, ServerFailed
from cluster.postgres import DATABASE, FENCE, PostgresServer
from cluster.postgres_pair import PostgresPair
from cluster.promotion import promote
from cluster.promotion_record import PromotionRecord, PromotionRequest
from cluster.roles import Rejoin, Roles
from cluster.state_directory import StateDirectory
from tests.directories import short_directory

PATIENCE_S = 60.0


class Starter:
    """A launcher that starts what it is told to, and watches nothing."""

    def start(self, server: PostgresServer) -> None:
        server.start()

    def end_orphans(self) -> None:
        """A server that the tests kill leaves none."""

    def swap(self, one: str, other: str) -> None:
        """Keeps nothing by name."""

    def step(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Tells nobody."""
        del name
        return contextlib.nullcontext()


def begin(state: StateDirectory, *, synchronous: bool = False) -> PostgresPair:
    """The servers of *state* as a new launcher starts them."""
    pair = PostgresPair(state, Starter(), synchronous=synchronous)
    pair.begin()
    return pair


def end(pair: PostgresPair) -> None:
    pair.replica.stop()
    pair.primary.stop()


@pytest.fixture(scope="module")
def state() -> Iterator[StateDirectory]:
    with short_directory("shortlist-promote-") as directory:
        state = StateDirectory(directory / "state")
        state.prepare()
        yield state
        state.unlink()


@pytest.fixture
def pair(state: StateDirectory) -> Iterator[PostgresPair]:
    """A primary and a replica that streams, whichever is which; table kept holds the number 1 on both."""
    pair = begin(state)
    try:
        write(pair, "create table if not exists kept (n bigint); truncate kept; insert into kept values (1)")
        written = pair.primary.written()
        assert wait_until(lambda: pair.replica.replayed() >= written, timeout_s=PATIENCE_S)
        yield pair
    finally:
        end(pair)


def write(pair: PostgresPair, sql: str) -> str:
    return pair.primary.query(sql, database=DATABASE)


def kept(server: PostgresServer) -> list[str]:
    return server.query("select n from kept order by n", database=DATABASE).split()


def ports(pair: PostgresPair) -> list[int]:
    """The primary's and the replica's, when both do what their roles say."""
    assert pair.primary.is_writable()
    assert wait_until(pair.replica.is_streaming, timeout_s=PATIENCE_S)
    assert (pair.primary.name, pair.replica.name) == ("postgres-primary", "postgres-replica-1")
    return [pair.primary.port, pair.replica.port]


def promoted(pair: PostgresPair, *, wait_s: float = PATIENCE_S) -> PromotionRecord:
    request = PromotionRequest(wait_s=wait_s, demote=pair.primary.port)
    record = PromotionRecord(id=request.id)
    promote(pair, request, record, lambda _: None)
    return record


def sender(pair: PostgresPair) -> psutil.Process:
    return psutil.Process(int(write(pair, "select pid from pg_stat_replication")))


def process_of(server: PostgresServer) -> psutil.Process:
    assert server.process is not None
    return psutil.Process(server.process.pid)


@contextlib.contextmanager
def short_patience() -> Iterator[None]:
    """A server that hangs has a second to answer, not five."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cluster.postgres.ANSWER_TIMEOUT_S", 1.0)
        yield


class TestPromote:
    def test_the_roles_are_swapped_and_a_second_one_swaps_them_back(self, pair: PostgresPair) -> None:
        before = ports(pair)
        for expected in (before[::-1], before):
            record = promoted(pair)
            assert (record.planned, record.lost_bytes, record.replica_streams) == (True, 0, True)
            assert ports(pair) == expected

    def test_the_old_primary_keeps_nothing_for_a_replica_any_more(self, pair: PostgresPair) -> None:
        promoted(pair)
        slots = "select slot_name, active from pg_replication_slots"
        assert (pair.primary.query(slots), pair.replica.query(slots)) == ("replica_1|t", "")

    def test_a_primary_that_hangs_is_killed_and_what_it_had_not_sent_is_counted_and_undone(
        self, pair: PostgresPair, caplog: pytest.LogCaptureFixture
    ) -> None:
        before = ports(pair)
        sender(pair).suspend()
        write(pair, "insert into kept values (2)")
        process_of(pair.primary).suspend()
        with short_patience():
            record = promoted(pair, wait_s=0.5)
        assert (record.planned, record.replica_streams, record.error) == (False, True, None)
        assert record.lost_bytes is not None
        assert 0 < record.lost_bytes < 100_000
        assert ports(pair) == before[::-1]
        assert kept(pair.primary) == kept(pair.replica) == ["1"]
        assert "cannot be rewound" not in caplog.text

    def test_a_primary_that_died_having_sent_everything_lost_nothing(self, pair: PostgresPair) -> None:
        pair.primary.kill()
        record = promoted(pair)
        assert (record.planned, record.lost_bytes, record.replica_streams) == (False, 0, True)
        assert kept(pair.primary) == kept(pair.replica) == ["1"]

    def test_a_primary_whose_data_are_damaged_is_copied_anew(self, pair: PostgresPair) -> None:
        before = ports(pair)
        pair.primary.kill()
        (pair.primary.data / "global" / "pg_control").unlink()
        record = promoted(pair)
        assert (record.planned, record.lost_bytes, record.replica_streams) == (False, None, True)
        assert ports(pair) == before[::-1]
        assert kept(pair.primary) == kept(pair.replica) == ["1"]

    def test_a_primary_that_recovers_from_a_crash_is_waited_for(self, pair: PostgresPair) -> None:
        pair.primary.kill()
        pair.primary.start()
        record = promoted(pair)
        assert (record.planned, record.lost_bytes) == (True, 0)


class TestRefusals:
    def test_a_replica_that_does_not_answer(self, pair: PostgresPair) -> None:
        before = ports(pair)
        process_of(pair.replica).suspend()
        with short_patience(), pytest.raises(PromotionRefused, match="does not answer: nothing was changed"):
            promoted(pair, wait_s=0)
        process_of(pair.replica).resume()
        assert ports(pair) == before

    def test_a_replica_that_does_not_catch_up(self, pair: PostgresPair) -> None:
        before = ports(pair)
        pair.replica.query("select pg_wal_replay_pause()")
        write(pair, "insert into kept values (2)")
        with pytest.raises(PromotionRefused, match=r"bytes behind after 1 s\. Nothing was changed"):
            promoted(pair, wait_s=1)
        pair.replica.query("select pg_wal_replay_resume()")
        assert ports(pair) == before

    def test_a_request_for_a_primary_that_was_replaced_meanwhile(self, pair: PostgresPair) -> None:
        before = ports(pair)
        request = PromotionRequest(wait_s=1, demote=before[1])
        with pytest.raises(PromotionRefused, match="Another promotion was faster"):
            promote(pair, request, PromotionRecord(id=request.id), lambda _: None)
        assert ports(pair) == before


class TestFence:
    def test_the_old_primary_refuses_writes_whoever_starts_it(self, pair: PostgresPair) -> None:
        promoted(pair)
        end(pair)
        old = pair.replica
        assert (old.data / FENCE).exists()
        by_hand = PostgresServer(
            "by-hand", old.programs, data=old.data, sockets=old.sockets, port=old.port, log=old.log
        )
        by_hand.start()
        by_hand.wait_ready(PATIENCE_S)
        with pytest.raises(ServerFailed, match="read-only transaction"):
            by_hand.query("insert into kept values (2)", database=DATABASE)
        by_hand.stop()

    @pytest.mark.parametrize("rejoin", ["rewind", "copy"])
    def test_what_was_decided_and_then_cut_short_is_finished_by_the_next_start(
        self, pair: PostgresPair, rejoin: Rejoin
    ) -> None:
        before = ports(pair)
        end(pair)
        Roles(primary=before[1], rejoin=rejoin).write(pair.state.roles)
        again = begin(pair.state)
        try:
            assert ports(again) == before[::-1]
            assert again.rejoin is None
            assert kept(again.primary) == kept(again.replica) == ["1"]
        finally:
            end(again)


class TestSynchronous:
    def test_writes_wait_for_the_replica_before_and_after_a_promotion(self, pair: PostgresPair) -> None:
        end(pair)
        pair = begin(pair.state, synchronous=True)
        try:
            for _ in range(2):
                held = sender(pair)
                held.suspend()
                with pytest.raises(ServerFailed, match="did not finish"):
                    pair.primary.query("insert into kept values (2)", database=DATABASE, timeout_s=1)
                held.resume()
                promoted(pair)
                write(pair, "truncate kept")
        finally:
            end(pair)


class TestLocalPostgres:
    def test_its_urls_lead_by_role_for_asyncpg_and_for_libpq(self, pair: PostgresPair) -> None:
        question = "select pg_is_in_recovery()"
        psql = pair.primary.programs

        async def ask(url: str) -> bool:
            connection = await asyncpg.connect(url)
            answer: bool = await connection.fetchval(question)
            await connection.close()
            return answer

        urls = {pair.servers.database_url: False, pair.servers.replica_url: True}
        for _ in range(2):
            for url, standby in urls.items():
                assert asyncio.run(ask(url)) is standby
                assert psql.run("psql", "-XAtc", question, url) == ("t" if standby else "f")
            promoted(pair)

    def test_data_directories_named_by_their_first_roles_are_kept(self, pair: PostgresPair) -> None:
        before = ports(pair)
        end(pair)
        old = {5432: "primary", 5433: "replica-1"}
        for port, name in old.items():
            (pair.state.postgres / f"server-{port}").rename(pair.state.postgres / name)
        again = begin(pair.state)
        try:
            assert ports(again) == before
            assert kept(again.primary) == ["1"]
        finally:
            end(again)


class TestRoles:
    def test_without_a_file_the_first_server_is_the_primary(self, tmp_path: Path) -> None:
        assert Roles.read(tmp_path / "roles.json", first=5432) == Roles(primary=5432)

    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        roles = Roles(primary=5433, rejoin="rewind")
        roles.write(tmp_path / "roles.json")
        assert Roles.read(tmp_path / "roles.json", first=5432) == roles
