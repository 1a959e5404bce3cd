"""A running stack, filled and asked over HTTP; or one that is started for it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

_ROOT = Path(__file__).resolve().parents[1]
_BATCH = 500
_PAGE = 100
_SETTLED_S = 900.0
_POLL_S = 1.0
_ANSWER_S = 10.0
_START_S = 600.0
# Answers in a row that must show the same catalogue: several replicas give them in turn.
_LOOKS = 8
_LATER = frozenset({httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.GATEWAY_TIMEOUT})


class NotReady(Exception):
    """The stack did not come to answer in full; the message says what is missing."""


class Shop:
    """
    A stack's HTTP API.

    Args:
        url: Where it answers.
    """

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60.0, trust_env=False)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self._client.close()

    def put(self, products: list[dict[str, Any]]) -> int:
        """
        Write *products*; return how many were not there already.

        Raises:
            NotReady: a product was refused.
        """
        changed = 0
        for first in range(0, len(products), _BATCH):
            answer = self._ask("POST", "/v1/products", json={"products": products[first : first + _BATCH]})
            if answer["rejected"]:
                raise NotReady(f"products were refused: {answer['errors'][:3]}")
            changed += answer["changed"]
        return changed

    def versions(self) -> dict[str, Any]:
        """What an answer by words and meaning depends on now."""
        versions: dict[str, Any] = self._search("anything", "hybrid")["versions"]
        return versions

    def wait_until_searchable(self, *, vocabulary_after: str | None = None) -> None:
        """
        Return once what was written can be found: embedded, known to every replica, its words counted.

        Args:
            vocabulary_after: A version of the vocabulary that is too old; None: any will do.

        Raises:
            NotReady: that did not come about within a quarter of an hour.
        """
        missing = "nothing was looked at"
        until = time.monotonic() + _SETTLED_S
        while time.monotonic() < until:
            missing = self._missing(vocabulary_after) or ""
            if not missing:
                return
            time.sleep(_POLL_S)
        raise NotReady(f"after {_SETTLED_S:g} s {missing}")

    def ranked(self, query: str, mode: str) -> list[str]:
        """Return all products found, best first, page by page."""
        found: list[str] = []
        cursor = None
        while True:
            answer = self._search(query, mode, cursor)
            found += [hit["id"] for hit in answer["hits"]]
            cursor = answer.get("next_cursor")
            if cursor is None:
                return found

    def _missing(self, vocabulary_after: str | None) -> str | None:
        """What keeps answers from showing everything that was written."""
        with contextlib.suppress(httpx.HTTPError, NotReady):
            for part, health in self._ask("GET", "/health")["deployments"].items():
                embedding = health.get("embedding")
                if embedding is not None and embedding["waiting"] != 0:
                    return f"{part} still embeds: {embedding}"
            seen = set()
            for look in range(_LOOKS):
                versions = self._search(f"anything {look} {time.time_ns()}", "hybrid")["versions"]
                seen.add((versions["index"], versions["changes"], versions["vocabulary"]))
            index, changes, vocabulary = seen.pop()
            if seen or index is None or changes is None or "~" in changes:
                return "the replicas do not answer from one catalogue yet"
            return None if vocabulary != vocabulary_after else "its words are not counted yet"
        return "it does not answer in full"

    def _search(self, query: str, mode: str, cursor: str | None = None) -> dict[str, Any]:
        body = {"q": query, "mode": mode, "limit": _PAGE, "timeout_ms": int(_ANSWER_S * 1000), "degradation": "forbid"}
        return self._ask("POST", "/v1/search", json=body | ({"cursor": cursor} if cursor else {}))

    def _ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:  # noqa: ANN401  as httpx takes it
        """The answer; asked again for a minute where the stack says that later is better."""
        until = time.monotonic() + 60.0
        while True:
            response = self._client.request(method, path, **content)
            if response.is_success or response.status_code not in _LATER or time.monotonic() > until:
                break
            time.sleep(float(response.headers.get("Retry-After", "1")))
        if not response.is_success:
            raise NotReady(f"{method} {path}: {response.status_code} {response.text[:500]}")
        answer: dict[str, Any] = response.json()
        return answer


@contextlib.contextmanager
def own_stack(command: str = "up") -> Iterator[tuple[str, Path]]:
    """
    A stack that is started now and removed afterwards: where it answers, and its state directory.

    Args:
        command: ``up`` for an empty one, ``demo`` for one that holds MovieLens-100K.
    """
    directory = Path(tempfile.mkdtemp(prefix="shortlist-search-", dir="/tmp"))
    # The account that Postgres runs as must be able to enter.
    directory.chmod(0o711)
    state_dir = directory / "state"
    ports = ("--http-port=0", "--dashboard-port=0", "--training-dashboard-port=0")
    try:
        yield str(shortlist(state_dir, command, "--detach", *ports)["url"]), state_dir
    finally:
        shortlist(state_dir, "down")
        shutil.rmtree(directory, ignore_errors=True)


def shortlist(state_dir: Path, *arguments: str) -> dict[str, Any]:
    """
    Run the command on the stack of *state_dir* and return its JSON.

    Raises:
        NotReady: it failed; what it said is above.
    """
    command = [sys.executable, "-m", "cluster.cli", *arguments, "--json", "--state-dir", str(state_dir)]
    # Without settings that lead elsewhere.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SHORTLIST_", "RAY_"))}
    done = subprocess.run(  # noqa: S603  our own command
        command, stdout=subprocess.PIPE, timeout=_START_S, check=False, cwd=_ROOT, text=True, env=environment
    )
    if done.returncode:
        raise NotReady(f"shortlist {' '.join(arguments)} ended with status {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
