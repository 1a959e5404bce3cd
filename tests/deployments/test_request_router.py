from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter

from deployments.options import INNER
from deployments.request_router import SightedRouter

ROOT = Path(__file__).parents[2]
OWN = {"doubt", "_note_lost"}
PROGRAM = """
import base64, pickle, sys
from types import SimpleNamespace
from deployments.replica_sight import replicas_of
router = pickle.loads(base64.b64decode(sys.argv[1]))
replicas = replicas_of("shop", "search")
replicas.changed(1)
serves = SimpleNamespace(_deployment_id=SimpleNamespace(app_name="shop", name="search"), curr_replicas={})
router._note_lost(serves, "a")
print(router.__name__, replicas.are_gone)
"""


class TestSightedRouter:
    def test_serve_still_has_what_it_overrides(self) -> None:
        methods = {name for name, value in vars(SightedRouter).items() if callable(value)} - OWN
        assert methods
        assert all(hasattr(PowerOfTwoChoicesRequestRouter, name) for name in methods)

    def test_as_serve_unpickles_it_in_another_process_it_tells_the_hops_there(self) -> None:
        """Serve pickles the class by value; what it tells must not end in a copy."""
        pickled = base64.b64encode(INNER["request_router_config"].get_serialized_request_router_cls()).decode()
        command = [sys.executable, "-c", PROGRAM, pickled]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
        assert told.stdout.split() == ["SightedRouter", "True"]
