"""A store with the versions that docs/artifacts.md speaks of, and the command run on it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from artifacts.activations import Activation, entry_name
from artifacts.manifest import ArtifactKind, DataWindow, Manifest
from artifacts.store import ArtifactStore
from cluster import cli
from tests.artifacts.versions import WRITERS

KIND: ArtifactKind = "collaborative"
FIRST, BEFORE, ACTIVE, WORSE = (
    "20251119T030214Z-5b1c07",
    "20251120T030209Z-91d3aa",
    "20251121T030211Z-0c44e2",
    "20251122T030220Z-ee1280",
)
FIGURES = {FIRST: (0.1921, 0.1964), BEFORE: (0.1948, 0.1979), ACTIVE: (0.1956, 0.1991), WORSE: (0.1702, 0.1725)}
HOLDOUT = {"share": 0.2, "at_least": 5, "by": "last of each user"}


def made_at(version: str) -> datetime:
    """The time in a version's name."""
    return datetime.strptime(version[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def publish(
    store: ArtifactStore, directory: Path, version: str, *, kind: ArtifactKind = KIND, **fields: object
) -> Manifest:
    """Publish a small, sound version."""
    source = directory / f"source-{kind}-{version}"
    source.mkdir(parents=True)
    made = {"version": version, "created_at": made_at(version), **fields}
    return store.publish(source, WRITERS[kind](source).model_copy(update=made))


def use(store: ArtifactStore, version: str, replaced: str | None) -> None:
    """Put a version into use at the time of its making."""
    entry = Activation(version=version, replaced=replaced, activated_at=made_at(version))
    history = Path(store.root) / KIND / "history"
    history.mkdir(exist_ok=True)
    (history / entry_name(entry)).write_text(entry.model_dump_json())
    (Path(store.root) / KIND / "ACTIVE").write_text(version)


def fill(root: Path, directory: Path) -> ArtifactStore:
    """Four versions, three of which were in use one after the other; the fourth is worse."""
    store, parent = ArtifactStore(str(root)), None
    for version, (ndcg, recall) in FIGURES.items():
        als = {"factors": 32, "alpha": 1.0 if version != WORSE else 40.0}
        publish(
            store,
            directory,
            version,
            metrics={"ndcg_at_10": ndcg, "recall_at_20": recall},
            parameters={"holdout": HOLDOUT, "als": als},
            data_window=DataWindow(start=datetime(2025, 3, 1, tzinfo=UTC), end=made_at(version)),
            parent=parent,
        )
        if version != WORSE:
            use(store, version, parent)
            parent = version
    return store


class Graph:
    """Answers ``/health`` with what it is told to."""

    def __init__(self) -> None:
        self.deployments: dict[str, Any] = {}
        graph = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"deployments": graph.deployments}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @classmethod
    @contextlib.contextmanager
    def started(cls) -> Iterator[Graph]:
        """One that answers until the block ends."""
        graph = cls()
        thread = threading.Thread(target=graph.server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield graph
        graph.server.shutdown()
        graph.server.server_close()

    def serves(self, version: str) -> None:
        """As /health tells it where every part uses *version*."""
        told = {"healthy": True, "version": version, "cause": None, "refused": None, "looking_s": 0.0}
        self.deployments = {
            "search": {**told, "version": None, "cause": "artifact_missing"},
            "recommendation": {"embeddings": told, "collaborative": told},
            "ranking": {"collaborative": told},
        }


@dataclass(frozen=True)
class Answer:
    """What a command ended with and wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Its JSON."""
        document = json.loads(self.out)
        assert isinstance(document, dict)
        return document


def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> Answer:
    """Run ``shortlist`` with *arguments* here: a second less than a process of its own."""
    monkeypatch.setattr("sys.argv", ["shortlist", *arguments])
    capsys.readouterr()
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1 if end.code else 0
    said = capsys.readouterr()
    return Answer(code, said.out, said.err)
