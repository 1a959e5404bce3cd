from __future__ import annotations

from storage.budget import budget_problem, connection_budget
from storage.config import StorageConfig

REPLICAS = {"gateway": 10, "search": 10, "recommendation": 10, "ingestion": 10}


class TestConnectionBudget:
    def test_every_process_may_fill_its_pool_and_asks_on_one_more(self) -> None:
        assert connection_budget(REPLICAS, StorageConfig()) == 40 * (20 + 10 + 1)

    def test_what_they_hold_beside_counts(self) -> None:
        assert connection_budget(REPLICAS, StorageConfig(), sessions=20) == 40 * 31 + 20


class TestBudgetProblem:
    def test_nothing_is_said_where_every_server_has_enough(self) -> None:
        assert budget_problem(REPLICAS, StorageConfig(), {"primary": 1240, "replica-1": 5000}) is None

    def test_a_server_that_has_not_said_is_passed_over(self) -> None:
        assert budget_problem(REPLICAS, StorageConfig(), {"primary": None}) is None

    def test_what_to_set_is_said(self) -> None:
        problem = budget_problem(REPLICAS, StorageConfig(), {"primary": 397, "replica-1": 2000})
        expected = (
            "40 processes may open 1240 database connections to one server (20 + 10 + 1 each), but primary has 397. "
            "Raise max_connections by 843, or lower storage.pool_size + storage.pool_overflow to at most 8."
        )
        assert expected == problem

    def test_what_is_advised_fits(self) -> None:
        advised = StorageConfig(pool_size=8, pool_overflow=0)
        assert budget_problem(REPLICAS, advised, {"primary": 397}) is None

    def test_what_is_advised_leaves_room_for_what_they_hold_beside(self) -> None:
        problem = budget_problem(REPLICAS, StorageConfig(), {"primary": 397}, sessions=60)
        assert problem is not None
        assert "(20 + 10 + 1 each, 60 beside)" in problem
        assert problem.endswith("to at most 7.")
        advised = StorageConfig(pool_size=7, pool_overflow=0)
        assert budget_problem(REPLICAS, advised, {"primary": 397}, sessions=60) is None

    def test_where_not_even_one_connection_fits_there_are_too_many_processes(self) -> None:
        problem = budget_problem(REPLICAS, StorageConfig(), {"primary": 41})
        assert problem is not None
        assert problem.endswith("or run fewer replicas.")
