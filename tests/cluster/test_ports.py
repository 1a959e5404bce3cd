from __future__ import annotations

import os
import socket

import pytest

from cluster import ports
from cluster.errors import PortInUse
from cluster.ports import free_ports, holder_of, require_free, set_aside


class TestFreePorts:
    def test_they_differ_from_each_other_and_from_earlier_ones(self) -> None:
        ports = [*free_ports(50), *free_ports(50)]
        assert len(set(ports)) == 100

    def test_none_is_one_that_was_set_aside(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ports, "CHOICE", range(20_000, 20_003))
        monkeypatch.setattr(ports, "_is_free", lambda _: True)
        monkeypatch.setattr(ports, "_given", set())
        set_aside(20_001)
        assert set(free_ports(3)) == {20_000, 20_002}


class TestRequireFree:
    def test_zero_is_any_free_port(self) -> None:
        assert require_free("127.0.0.1", 0, option="--http-port") > 0

    def test_a_taken_port_is_refused_with_its_holder_and_the_option(self) -> None:
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            with pytest.raises(PortInUse, match=rf"Port {port} .*process {os.getpid()} .*--http-port"):
                require_free("127.0.0.1", port, option="--http-port")

    def test_a_port_that_was_just_left_is_free(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)):
                accepted, _ = server.accept()
                accepted.close()
        assert require_free("127.0.0.1", port, option="--http-port") == port


class TestHolderOf:
    def test_nobody_is_none(self) -> None:
        assert holder_of(free_ports(1)[0]) is None
