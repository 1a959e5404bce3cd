from __future__ import annotations

import pytest

from cluster.training_run import last_json, readable


class TestReadable:
    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("[   0.0 s] embeddings v1: reading products", "[   0.0 s] embeddings v1: reading products"),
            ("\x1b[36m(RayTrainWorker pid=14752)\x1b[0m exporting the encoder", "exporting the encoder"),
            ("2026-11-22 15:36:28,874\tINFO job_manager.py:581 -- Runtime env is setting up.", ""),
            ("\x1b[36m(TrainController pid=1)\x1b[0m [2026-11-22 15:37:07,232 E 1 2] core_worker.cc:2465: Actor", ""),
            ("   ", ""),
        ],
    )
    def test_only_what_the_job_itself_says_is_left(self, line: str, expected: str) -> None:
        assert readable(line) == expected


class TestLastJson:
    def test_the_last_object_counts(self) -> None:
        assert last_json(['{"version": "a"}', '{"version": "b"}', "done", "{broken", "[1]"]) == {"version": "b"}

    def test_no_object_is_an_empty_one(self) -> None:
        assert last_json(["done"]) == {}
