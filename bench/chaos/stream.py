"""
A steady stream of searches, recommendations and events, from a process of its own that nothing else disturbs.

Run by `Stream` as ``python -m bench.chaos.stream FILE OPTIONS``: requests begin by the clock, whether earlier ones were
answered or not. Repeated and distinct queries take turns, with and without a user, so that cached answers and fresh
ones are both asked for; a third of them by POST, and a sixth must see the last write that was acknowledged. Events that
were not acknowledged are sent again with their ids, as clients should.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import aiohttp

from bench.chaos.answer_check import Verdict, events_verdict, read_verdict
from bench.chaos.record import Broken, Kind, Record, RecordFile

WORDS = (
    "war",
    "love",
    "star",
    "night",
    "king",
    "dead",
    "city",
    "time",
    "blue",
    "secret",
    "girl",
    "last",
    "great",
    "man",
)
USERS = 900
PRODUCTS = 1600
EVENTS_EACH = 2
SENT_AGAIN = 200
BY_POST, SEE_A_WRITE = 1 / 3, 1 / 6
TOKEN_FIELD, TOKEN_HEADER = "consistency_token", "X-Consistency-Token"


@dataclass(frozen=True)
class StreamOptions:
    """
    What is asked, and how often.

    Attributes:
        url: The gateway's.
        name: Begins the ids of the events and of their users.
        searches: A second.
        recommendations: A second.
        posts: Batches of events a second.
        timeout_ms: The reads' deadline.
        patience_s: How long the client waits beyond a read's deadline, and for a write.
        seed: Of what is asked.
    """

    url: str
    name: str
    searches: float = 10.0
    recommendations: float = 4.0
    posts: float = 3.0
    timeout_ms: int = 1000
    patience_s: float = 10.0
    seed: int = 7


@dataclass(frozen=True)
class Request:
    """What to ask next: a read's fields, in the query or *posted* as JSON, or events."""

    kind: Kind
    path: str
    fields: Mapping[str, Any]
    events: tuple[Mapping[str, str], ...] = ()
    posted: bool = False

    @property
    def sees_write(self) -> bool:
        """Whether the answer has to see an earlier write."""
        return TOKEN_FIELD in self.fields

    @property
    def query(self) -> dict[str, str]:
        """The fields as a query: of each list one value is asked for here."""
        return {name: str(value[0] if isinstance(value, list) else value) for name, value in self.fields.items()}


class Questions:
    """What the stream asks, endlessly."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._random = random.Random(options.seed)  # noqa: S311 - queries, not secrets
        self._turn = itertools.count()
        self._events = itertools.count()
        self.token: str | None = None
        self.unacknowledged: deque[tuple[Mapping[str, str], ...]] = deque(maxlen=SENT_AGAIN)

    def search(self) -> Request:
        """The next search: repeated, distinct, distinct for a user, repeated for a user."""
        turn = next(self._turn)
        words = f"{self._random.choice(WORDS)} {self._random.choice(WORDS)}"
        distinct = turn % 4 in {1, 2}
        fields = {"q": f"{words} {self._random.getrandbits(32):08x}" if distinct else words}
        if turn % 4 in {2, 3}:
            fields["user_id"] = str(self._random.randint(1, USERS))
        return self._read("search", "/v1/search", fields)

    def recommendation(self) -> Request:
        """The next request for recommendations: for a user, like a product, popular; each second one distinct."""
        turn = next(self._turn)
        subjects: tuple[dict[str, Any], ...] = (
            {"user_id": str(self._random.randint(1, USERS))},
            {"product_ids": [str(self._random.randint(1, PRODUCTS))]},
            {},
        )
        distinct = {"exclude_ids": [f"none-{turn}"]} if turn % 2 else {}
        return self._read("recommend", "/v1/recommendations", {**subjects[turn % 3], **distinct})

    def _read(self, kind: Kind, path: str, fields: Mapping[str, Any]) -> Request:
        asked = {**fields, "timeout_ms": self._options.timeout_ms}
        if self.token is not None and self._random.random() < SEE_A_WRITE:
            asked[TOKEN_FIELD] = self.token
        return Request(kind, path, asked, posted=self._random.random() < BY_POST)

    def events(self) -> Request:
        """The next batch of events: one that was not acknowledged, each second time, else a new one."""
        turn = next(self._turn)
        if self.unacknowledged and turn % 2:
            return Request("events", "/v1/events", {}, self.unacknowledged.popleft())
        batch = tuple(
            {
                "id": f"{self._options.name}-{next(self._events)}",
                "user_id": f"{self._options.name}-{self._random.randint(1, 20)}",
                "product_id": str(self._random.randint(1, PRODUCTS)),
                "type": "view",
            }
            for _ in range(EVENTS_EACH)
        )
        return Request("events", "/v1/events", {}, batch)


class Client:
    """Asks, and writes a record of each request."""

    def __init__(self, options: StreamOptions, questions: Questions, out: TextIO) -> None:
        self._options = options
        self._questions = questions
        self._out = out

    async def run(self, ended: asyncio.Event) -> None:
        """Ask until told to end; what was begun is finished."""
        timeout = aiohttp.ClientTimeout(total=self._options.timeout_ms / 1000 + self._options.patience_s)
        async with (
            aiohttp.ClientSession(
                self._options.url, timeout=timeout, connector=aiohttp.TCPConnector(limit=0), trust_env=False
            ) as session,
            asyncio.TaskGroup() as asking,
        ):
            rates: tuple[tuple[float, Callable[[], Request]], ...] = (
                (self._options.searches, self._questions.search),
                (self._options.recommendations, self._questions.recommendation),
                (self._options.posts, self._questions.events),
            )
            for rate, question in rates:
                if rate > 0:
                    asking.create_task(self._steadily(session, rate, question, ended, asking))

    async def _steadily(
        self,
        session: aiohttp.ClientSession,
        rate: float,
        question: Callable[[], Request],
        ended: asyncio.Event,
        asking: asyncio.TaskGroup,
    ) -> None:
        due = time.monotonic()
        while not ended.is_set():
            asking.create_task(self._ask(session, question()))
            # Late ones follow at once, so that the rate holds whatever the answers do; but a stopped clock is forgiven.
            due = max(due + 1 / rate, time.monotonic() - 1.0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await ended.wait()

    async def _ask(self, session: aiohttp.ClientSession, request: Request) -> None:
        began = time.monotonic()
        status: int | None = None
        broken: Broken | None = None
        verdict = Verdict()
        try:
            if request.events:
                sending = session.post(request.path, json={"events": list(request.events)})
            elif request.posted:
                sending = session.post(request.path, json=dict(request.fields))
            else:
                sending = session.get(request.path, params=request.query)
            async with sending as response:
                body = await response.read()
                status = response.status
                self._questions.token = response.headers.get(TOKEN_HEADER, self._questions.token)
                verdict = (
                    events_verdict(status, response.headers, body, sent=len(request.events))
                    if request.events
                    else read_verdict(status, response.headers, body, sees_write=request.sees_write)
                )
        except TimeoutError:
            broken = "silent"
        except aiohttp.ClientConnectorError:
            broken = "refused"
        except aiohttp.ClientError:
            status, broken = None, "reset"
        acknowledged = tuple(event["id"] for event in request.events) if status == 202 else ()  # noqa: PLR2004
        if request.events and not acknowledged:
            self._questions.unacknowledged.append(request.events)
        record = Record(
            kind=request.kind,
            began_s=began,
            ended_s=time.monotonic(),
            status=status,
            broken=broken,
            code=verdict.code,
            degraded=verdict.degraded,
            pairs=verdict.pairs,
            faults=verdict.faults,
            acknowledged=acknowledged,
        )
        self._out.write(record.line())
        self._out.flush()


class Stream:
    """
    A stream that runs in a process of its own.

    Args:
        options: What it asks.
        path: The file that receives its records.
    """

    def __init__(self, options: StreamOptions, path: Path) -> None:
        self.options = options
        self.answers = RecordFile(path)
        self._path = path
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Stream]:
        """Ask while the block runs; what was begun then is finished before this returns."""
        command = [sys.executable, "-m", "bench.chaos.stream", str(self._path), json.dumps(asdict(self.options))]
        self._process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own module
        try:
            yield self
        finally:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(self.options.timeout_ms / 1000 + self.options.patience_s + 10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def check(self) -> None:
        """
        Return if the stream runs.

        Raises:
            RuntimeError: it ended by itself; its own words are on stderr.
        """
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("The stream of requests has ended by itself")


async def _main(path: Path, options: StreamOptions) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    with path.open("a") as out:
        await Client(options, Questions(options), out).run(ended)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), StreamOptions(**json.loads(sys.argv[2]))))
