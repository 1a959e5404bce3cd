from __future__ import annotations

from tests.servers import Servers, database_name


class TestPostgresServer:
    def test_a_replica_is_in_recovery_and_streams(self, servers: Servers) -> None:
        assert servers.replica.is_streaming()

    def test_a_primary_does_not_stream(self, servers: Servers) -> None:
        assert not servers.primary.is_streaming()

    def test_what_the_primary_commits_is_read_on_the_replica(self, servers: Servers, database_url: str) -> None:
        name = database_name(database_url)
        servers.primary.query("create table t as select 41 + 1 as answer", database=name)
        servers.replay()
        assert servers.replica.query("select answer from t", database=name) == "42"

    def test_no_tcp_port_is_opened(self, servers: Servers) -> None:
        assert servers.primary.query("show listen_addresses") == ""

    def test_accented_letters_are_letters(self, servers: Servers) -> None:
        assert servers.primary.query("select to_tsvector('simple', 'Amélie ÉCOLE')") == "'amélie':1 'école':2"

    def test_the_replica_keeps_its_place_on_the_primary(self, servers: Servers) -> None:
        assert not servers.replica.lost_its_place(servers.primary)
        assert servers.replica.descends_from(servers.primary)
