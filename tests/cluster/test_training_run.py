from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.errors import NoAnswer, TrainingFailed
from cluster.ports import free_ports
from cluster.ray_api import RayApi
from cluster.training_run import last_json, readable, train


class Dashboard(BaseHTTPRequestHandler):
    """What Ray's dashboard says of jobs, of which it knows those that were submitted to it."""

    jobs: list[str]
    knows = True

    def do_GET(self) -> None:
        if self.path == "/api/version":
            self.answer({"ray_version": "0"})
        elif not self.knows:
            self.answer({}, status=404)
        else:
            self.answer({"logs": '{"version": "a"}'} if self.path.endswith("/logs") else {"status": "SUCCEEDED"})

    def do_POST(self) -> None:
        self.jobs.append(self.path)
        self.rfile.read(int(self.headers["content-length"]))
        self.answer({})

    def answer(self, document: object, status: int = 200) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(port: int, kind: type[Dashboard]) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", port), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def kind_of_dashboard(*, knows: bool) -> type[Dashboard]:
    return type("ADashboard", (Dashboard,), {"jobs": [], "knows": knows})


class TestTrain:
    def test_a_cluster_that_is_away_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        port, kind = free_ports(1)[0], kind_of_dashboard(knows=True)
        asked = threading.Event()
        monkeypatch.setattr("cluster.training_run.time.sleep", lambda _: asked.set())
        results, said = [], list[str]()
        api = RayApi(f"http://127.0.0.1:{port}", None)
        waiting = threading.Thread(target=lambda: results.append(train(api, "popularity", follow=said.append)))
        waiting.start()
        assert asked.wait(60)
        with serving(port, kind):
            waiting.join(60)
        assert [result.result for result in results] == [{"version": "a"}]
        assert kind.jobs == ["/api/jobs/"]
        assert f"{port} does not answer" in said[0]

    def test_one_that_stays_away_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cluster.training_run.PATIENCE_S", 0.0)
        port = free_ports(1)[0]
        with pytest.raises(NoAnswer, match=f"{port} does not answer"):
            train(RayApi(f"http://127.0.0.1:{port}", None), "popularity", follow=print)

    def test_one_that_was_started_again_has_forgotten_the_job(self) -> None:
        port = free_ports(1)[0]
        with (
            serving(port, kind_of_dashboard(knows=False)),
            pytest.raises(TrainingFailed, match="forgotten the popularity job: run it again"),
        ):
            train(RayApi(f"http://127.0.0.1:{port}", None), "popularity", follow=print)


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
