from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

import pytest

from cluster.child import wait_until
from cluster.identity import ProcessIdentity
from cluster.local_postgres import LocalPostgres
from cluster.record import StackRecord
from tests.command import FREE_PORTS, Shortlist
from tests.directories import short_directory

SERVERS = ("up", "--no-deploy", "--only=postgres,valkey", *FREE_PORTS)
PATIENCE_S = 120.0


@pytest.fixture
def shortlist() -> Iterator[Shortlist]:
    """A state directory of its own, with nothing in it and nothing left at the end."""
    with short_directory("shortlist-stack-") as directory:
        shortlist = Shortlist(directory / "state")
        yield shortlist
        shortlist.run("down")
        assert shortlist.processes() == []


@pytest.fixture(scope="module")
def calm() -> Iterator[Shortlist]:
    """Running servers that no test stops or kills."""
    with short_directory("shortlist-calm-") as directory:
        shortlist = Shortlist(directory / "state")
        shortlist.start_servers()
        yield shortlist
        shortlist.run("down")
        assert shortlist.processes() == []


@pytest.fixture
def running(shortlist: Shortlist) -> Shortlist:
    """The same, with the servers running."""
    shortlist.start_servers()
    return shortlist


def record_of(shortlist: Shortlist) -> StackRecord:
    record = StackRecord.read(shortlist.state.record)
    assert record is not None
    return record


def query(shortlist: Shortlist, sql: str) -> str:
    return LocalPostgres.of(shortlist.state).primary.query(sql, database="shortlist")


def gone(shortlist: Shortlist) -> bool:
    return wait_until(lambda: shortlist.processes() == [], timeout_s=PATIENCE_S, poll_s=0.2)


# The replica comes back to its slot within moments, so it takes a few tries at times.
DROP_THE_SLOT = """
do $$
begin
    loop
        perform pg_terminate_backend(active_pid, 5000) from pg_replication_slots where active_pid is not null;
        begin
            perform pg_drop_replication_slot('replica_1');
            exit;
        exception when object_in_use then
            null;
        end;
    end loop;
end
$$
"""


class TestUpAndDown:
    def test_status_names_every_process_and_asks_whether_it_works(self, calm: Shortlist) -> None:
        status = calm.ask("status")
        assert list(status)[:2] == ["url", "processes"]
        assert [row["name"] for row in status["processes"]] == ["postgres-primary", "postgres-replica-1", "valkey"]
        assert all(set(row) == {"name", "pid", "port", "rss_bytes", "healthy"} for row in status["processes"])
        assert all(row["healthy"] and row["rss_bytes"] > 0 for row in status["processes"])

    def test_nothing_that_runs_is_told_by_null_and_exit_code_3(self, shortlist: Shortlist) -> None:
        done = shortlist.run("status", "--json")
        assert (done.returncode, json.loads(done.stdout)) == (3, {"url": None, "processes": []})

    def test_a_second_up_says_that_it_runs_already(self, calm: Shortlist) -> None:
        url = record_of(calm).url
        again = calm.ask(*SERVERS, "--detach")
        assert (again["already_running"], again["url"]) == (True, url)

    def test_down_leaves_no_process_and_can_be_said_twice(self, running: Shortlist) -> None:
        assert running.ask("down")["stopped"] is True
        assert running.processes() == []
        assert not running.state.alias.exists()
        assert running.ask("down")["stopped"] is False

    def test_a_port_in_use_is_refused_by_name_and_nothing_is_left(self, shortlist: Shortlist) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            done = shortlist.run("up", "--detach", f"--http-port={port}", "--json")
        assert done.returncode == 4
        assert f"Port {port}" in done.stderr
        assert f"process {os.getpid()}" in done.stderr
        assert "--http-port" in json.loads(done.stdout)["error"]
        assert shortlist.processes() == []

    def test_migrations_are_applied_once(self, calm: Shortlist) -> None:
        assert calm.ask("migrate") == {"applied": []}
        assert query(calm, "select count(*) from products") == "0"

    def test_a_long_path_does_not_matter(self, shortlist: Shortlist) -> None:
        deep = Shortlist(shortlist.root.joinpath(*["a directory with a long name"] * 5))
        deep.start_servers()
        assert query(deep, "select 1") == "1"
        deep.run("down")
        assert deep.processes() == []

    def test_a_damaged_record_of_a_stopped_stack_does_not_matter(self, running: Shortlist) -> None:
        running.ask("down")
        running.state.record.write_text("{")
        running.start_servers()
        assert query(running, "select 1") == "1"


class TestSurviving:
    @pytest.mark.parametrize(
        "victims", [("supervisor",), ("guard",), pytest.param(("guard", "supervisor"), marks=pytest.mark.long)]
    )
    def test_killing_the_launcher_leaves_no_process_and_keeps_the_data(
        self, running: Shortlist, victims: tuple[str, ...]
    ) -> None:
        query(running, "create table kept as select 42 as answer")
        record = record_of(running)
        for victim in victims:
            os.kill(getattr(record, victim).pid, signal.SIGKILL)
        assert gone(running), running.processes()
        running.start_servers()
        assert query(running, "select answer from kept") == "42"

    def test_a_server_that_is_killed_is_started_again(self, running: Shortlist) -> None:
        before = record_of(running).parts["postgres-primary"].process
        os.kill(before.pid, signal.SIGKILL)

        def back() -> bool:
            part = record_of(running).parts["postgres-primary"]
            return part.restarts >= 1 and LocalPostgres.of(running.state).primary.answers()

        assert wait_until(back, timeout_s=PATIENCE_S)
        replica = LocalPostgres.of(running.state).replica
        assert wait_until(replica.is_streaming, timeout_s=PATIENCE_S)

    def test_a_replica_that_lost_its_place_is_copied_anew(self, running: Shortlist) -> None:
        servers = LocalPostgres.of(running.state)
        replica = ProcessIdentity.of(record_of(running).parts["postgres-replica-1"].process.pid)
        servers.primary.query(DROP_THE_SLOT)
        assert wait_until(lambda: replica.process() is None, timeout_s=PATIENCE_S)
        assert wait_until(servers.replica.is_streaming, timeout_s=PATIENCE_S)


class TestForeground:
    @pytest.mark.parametrize(
        "number",
        [
            signal.SIGINT,
            signal.SIGKILL,
            *(pytest.param(number, marks=pytest.mark.long) for number in (signal.SIGTERM, signal.SIGHUP)),
        ],
    )
    def test_whatever_ends_the_command_ends_the_stack(self, shortlist: Shortlist, number: signal.Signals) -> None:
        command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *shortlist.command(*SERVERS)]
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=shortlist.environment()
        ) as process:
            assert wait_until(lambda: shortlist.run("migrate").returncode == 0, timeout_s=PATIENCE_S, poll_s=0.2)
            process.send_signal(number)
            assert process.wait(PATIENCE_S) == (0 if number != signal.SIGKILL else -signal.SIGKILL)
        assert gone(shortlist), shortlist.processes()


class TestStateDirectory:
    def test_a_link_that_somebody_else_made_is_refused(self, shortlist: Shortlist) -> None:
        shortlist.state.alias.mkdir()
        try:
            done = shortlist.run(*SERVERS, "--detach")
        finally:
            shortlist.state.alias.rmdir()
        assert done.returncode == 6
        assert f"{shortlist.state.alias} exists and is not ours" in done.stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as somebody else")
    def test_a_directory_that_postgres_cannot_enter_is_refused_with_advice(self, shortlist: Shortlist) -> None:
        closed = shortlist.root.parent / "closed"
        closed.mkdir(mode=0o700)
        done = Shortlist(closed / "state").run(*SERVERS, "--detach")
        assert done.returncode == 6
        assert f"chmod o+x {closed}" in done.stderr

    def test_a_directory_that_cannot_be_made_is_refused(self, shortlist: Shortlist) -> None:
        file = shortlist.root.parent / "file"
        file.touch()
        done = Shortlist(file / "state").run(*SERVERS, "--detach")
        assert done.returncode == 6
        assert "--state-dir" in done.stderr
