from __future__ import annotations

from pathlib import Path

import pytest

from cluster import ports
from cluster.local_postgres import LocalPostgres
from cluster.ray_nodes import RayNodes
from cluster.stack_options import StackOptions
from cluster.state_directory import StateDirectory

ASKED = (20_000, 20_001, 20_002)


def chosen(directory: Path) -> list[int]:
    """The ports of all nodes of a stack, beyond those that were asked for."""
    state = StateDirectory(directory)
    state.token.write_text("token")
    options = StackOptions(
        state_dir=str(directory), http_port=ASKED[0], dashboard_port=ASKED[1], training_dashboard_port=ASKED[2]
    )
    nodes = RayNodes(options, state, LocalPostgres.of(state), "unix:///nothing")
    return [port for node in nodes.all for port in node.ports.values()]


class TestRayNodes:
    def test_no_port_that_was_asked_for_is_chosen_for_another_part(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another process has found them free, and nobody listens on them yet."""
        count = len(chosen(tmp_path))
        others = range(20_003, 20_003 + count)
        monkeypatch.setattr(ports, "CHOICE", range(ASKED[0], others.stop))
        monkeypatch.setattr(ports, "_is_free", lambda _: True)
        monkeypatch.setattr(ports, "_given", set())
        assert sorted(chosen(tmp_path)) == list(others)
