from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
from starlette.types import Message, Receive, Scope, Send

from contracts.answers import Answer
from contracts.deadline import Deadline
from contracts.requests import SearchRequest
from deployments.admission import Admission, AdmissionConfig
from deployments.http.api import http_api
from deployments.http.guard import Guard
from deployments.http.schemas import ProblemBody
from tests.deployments.memory_shop import MemoryShop

SMALL = AdmissionConfig(
    least_reads=1,
    first_reads=2,
    most_reads=2,
    most_waiting_reads=0,
    most_writes=1,
    most_bodies=2,
    max_body_bytes=1024,
    body_bytes=2048,
)
PATIENT = {"longest_wait_ms": 1000.0}
WAITED_S = 0.05
SEARCH: Scope = {"type": "http", "method": "GET", "path": "/v1/search", "headers": []}
EVENTS: Scope = {"type": "http", "method": "POST", "path": "/v1/events", "headers": []}


class Held:
    """An application that reads the body and answers 200 when it is let go."""

    def __init__(self, *, status: int = 200, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        self.go = asyncio.Event()
        self.bodies: list[bytes] = []
        self.started = asyncio.Semaphore(0)
        self._start = {"type": "http.response.start", "status": status, "headers": headers or []}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.started.release()
        if scope["headers"]:
            self.bodies.append((await receive())["body"])
        await self.go.wait()
        await send(self._start)
        await send({"type": "http.response.body", "body": b"{}"})


class WaitingShop(MemoryShop):
    """Its searches wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go = asyncio.Event(), asyncio.Event()

    async def search(self, request: SearchRequest, *, offset: int, deadline: Deadline) -> Answer:
        self.began.set()
        await self.go.wait()
        return await super().search(request, offset=offset, deadline=deadline)


class Client:
    """One request, sent by hand."""

    def __init__(self, guard: Guard, scope: Scope, *, length: int | None = None) -> None:
        headers = [] if length is None else [(b"content-length", b"%d" % length)]
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self.sent: list[Message] = []
        self.task = asyncio.create_task(guard({**scope, "headers": headers}, self._messages.get, self._send))

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    def sends(self, body: bytes, *, more: bool = False) -> None:
        self._messages.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leaves(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def status(self) -> int:
        await self.task
        return int(self.sent[0]["status"])

    async def problem(self) -> dict[str, Any]:
        await self.task
        body: dict[str, Any] = orjson.loads(self.sent[1]["body"])
        ProblemBody.model_validate(body)
        assert body["status"] == self.sent[0]["status"]
        return body


@asynccontextmanager
async def client_of(shop: MemoryShop, config: AdmissionConfig) -> AsyncIterator[httpx.AsyncClient]:
    app = http_api(shop, Admission(config))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        yield client


async def turns(count: int = 10) -> None:
    """Let every task go on as far as it can."""
    for _ in range(count):
        await asyncio.sleep(0)


class TestReads:
    async def test_beyond_the_limit_they_are_refused_and_health_answers(self) -> None:
        app = Held()
        guard = Guard(app, admission=Admission(SMALL))
        taken = [Client(guard, SEARCH) for _ in range(2)]
        refused = Client(guard, SEARCH)
        problem = await refused.problem()
        health = Client(guard, {**SEARCH, "path": "/health/live"})
        app.go.set()
        assert (problem["code"], problem["retryable"]) == ("overloaded", True)
        headers = dict(refused.sent[0]["headers"])
        assert headers[b"content-type"] == b"application/problem+json"
        assert 1 <= int(headers[b"retry-after"]) <= 3
        assert int(headers[b"content-length"]) == len(refused.sent[1]["body"])
        assert [await one.status() for one in (*taken, health)] == [200, 200, 200]

    async def test_they_do_not_take_the_place_of_writes(self) -> None:
        app = Held()
        guard = Guard(app, admission=Admission(SMALL))
        reads = [Client(guard, SEARCH) for _ in range(5)]
        write = Client(guard, EVENTS)
        second = Client(guard, EVENTS)
        await turns()
        app.go.set()
        assert [await one.status() for one in reads] == [200, 200, 429, 429, 429]
        assert (await write.status(), await second.status()) == (200, 429)

    async def test_a_burst_waits_for_room(self) -> None:
        app = Held()
        guard = Guard(app, admission=Admission(SMALL.model_copy(update={"most_waiting_reads": 3, **PATIENT})))
        reads = [Client(guard, SEARCH) for _ in range(6)]
        await turns()
        app.go.set()
        assert [await one.status() for one in reads] == [200, 200, 200, 200, 200, 429]

    async def test_the_time_that_one_waits_is_part_of_what_it_has(self) -> None:
        shop = WaitingShop()
        config = AdmissionConfig(least_reads=1, first_reads=1, most_reads=1, longest_wait_ms=PATIENT["longest_wait_ms"])
        async with client_of(shop, config) as client:
            first = asyncio.create_task(client.get("/v1/search?q=a&timeout_ms=5000"))
            await shop.began.wait()
            second = asyncio.create_task(client.get("/v1/search?q=b&timeout_ms=5000"))
            await asyncio.sleep(WAITED_S)
            shop.go.set()
            answers = [await first, await second]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert shop.time_left_s[1] <= 5 - WAITED_S
        assert answers[1].json()["took_ms"] >= WAITED_S * 1000

    @pytest.mark.parametrize(
        ("status", "degraded", "answered", "waited"),
        [
            (200, b"", 1, 0),
            (200, b"keyword=circuit_open", 1, 0),
            (200, b"keyword=timeout", 0, 1),
            (504, b"", 0, 1),
            (422, b"", 0, 0),
            (503, b"keyword=circuit_open", 0, 0),
        ],
    )
    async def test_an_answer_that_waited_for_a_part_is_told_from_one_that_took_long(
        self, status: int, degraded: bytes, answered: int, waited: int
    ) -> None:
        admission = Admission(AdmissionConfig())
        app = Held(status=status, headers=[(b"x-degraded", degraded)])
        app.go.set()
        await Client(Guard(app, admission=admission), SEARCH).task
        window = admission.reads.limit.window
        assert (len(window.answered), len(window.waited)) == (answered, waited)


class TestPages:
    async def test_their_files_take_no_place_of_reads(self) -> None:
        app = Held()
        guard = Guard(app, admission=Admission(SMALL.model_copy(update={"most_pages": 7})))
        files = [Client(guard, {**SEARCH, "path": f"/playground/{number}.js"}) for number in range(8)]
        reads = [Client(guard, SEARCH) for _ in range(2)]
        await turns()
        app.go.set()
        assert [await one.status() for one in files] == [200] * 7 + [429]
        assert [await one.status() for one in reads] == [200, 200]


class TestBodies:
    async def test_one_that_announces_too_much_is_refused_before_it_is_sent(self) -> None:
        refused = Client(Guard(Held(), admission=Admission(SMALL)), EVENTS, length=1025)
        assert (await refused.problem())["code"] == "body_too_large"

    async def test_one_that_announces_nothing_is_counted(self) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b" " * 512

        async with client_of(MemoryShop(), SMALL) as client:
            response = await client.post("/v1/events", content=chunks(), headers={"content-type": "application/json"})
        assert (response.status_code, response.json()["code"]) == (413, "body_too_large")

    async def test_one_that_comes_slowly_takes_no_place_of_work(self) -> None:
        app, admission = Held(), Admission(SMALL)
        app.go.set()
        guard = Guard(app, admission=admission)
        slow = Client(guard, {**EVENTS, "path": "/v1/search"}, length=4)
        slow.sends(b"{", more=True)
        await turns()
        assert (admission.bodies, admission.reads.limit.in_flight) == (1, 0)
        slow.sends(b"   ", more=True)
        slow.sends(b"}")
        assert await slow.status() == 200
        assert app.bodies == [b"{   }"]

    async def test_one_that_does_not_arrive_in_time_is_given_up(self) -> None:
        admission = Admission(SMALL.model_copy(update={"body_timeout_s": 0.01}))
        slow = Client(Guard(Held(), admission=admission), EVENTS, length=4)
        assert (await slow.problem())["code"] == "body_timeout"
        assert (admission.bodies, admission.body_bytes) == (0, 0)

    async def test_only_so_many_are_received_at_once(self) -> None:
        guard = Guard(Held(), admission=Admission(SMALL))
        receiving = [Client(guard, EVENTS, length=4) for _ in range(2)]
        assert (await Client(guard, EVENTS, length=4).problem())["detail"].startswith("Too many bodies")
        for one in receiving:
            one.leaves()
            await one.task
            assert one.sent == []

    async def test_their_bytes_are_bounded_until_the_answer(self) -> None:
        app, admission = Held(), Admission(SMALL.model_copy(update={"most_writes": 9}))
        guard = Guard(app, admission=admission)
        held = [Client(guard, EVENTS, length=1024) for _ in range(2)]
        for one in held:
            one.sends(b" " * 1024)
            await app.started.acquire()
        assert admission.bodies == 0
        assert (await Client(guard, EVENTS, length=1).problem())["detail"].startswith("Too many bytes")
        app.go.set()
        assert [await one.status() for one in held] == [200, 200]
        assert admission.body_bytes == 0
        assert admission.shed == {"body_bytes": 1}

    async def test_large_ones_leave_room_for_small_ones(self) -> None:
        app = Held()
        guard = Guard(app, admission=Admission(AdmissionConfig(max_body_bytes=300_000, body_bytes=400_000)))
        large = Client(guard, EVENTS, length=290_000)
        assert (await Client(guard, EVENTS, length=270_000).problem())["code"] == "overloaded"
        small = Client(guard, EVENTS, length=1000)
        for one, size in ((large, 290_000), (small, 1000)):
            one.sends(b" " * size)
        app.go.set()
        assert [await one.status() for one in (large, small)] == [200, 200]


class TestErrors:
    async def test_one_of_ours_is_a_problem_without_its_insides(self) -> None:
        class Broken(MemoryShop):
            async def sample_users(self, limit: int) -> list[str]:
                raise RuntimeError(f"secret {limit}")

        async with client_of(Broken(), SMALL) as client:
            response = await client.get("/v1/users")
        assert (response.status_code, response.json()["code"]) == (500, "internal")
        assert "secret" not in response.text
