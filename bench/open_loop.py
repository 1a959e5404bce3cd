"""A load generator that costs little: HTTP/1.1 over raw asyncio, requests started by the clock or in a ring."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

END_OF_HEAD = b"\r\n\r\n"
LENGTH = b"\r\ncontent-length:"
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Reply:
    """
    What became of one request.

    Attributes:
        status: The HTTP status; 0: no answer.
        due: When it should have been sent, on the monotonic clock: time counts from then, even if the client was late.
        ms: Milliseconds from then to the last byte.
        head: The answer's first line and headers.
        body: The answer's body.
    """

    status: int
    due: float
    ms: float
    head: bytes
    body: bytes


class _Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._got = bytearray()
        self._wanted = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        if self._wanted < 0:
            end = self._got.find(END_OF_HEAD)
            if end < 0:
                return
            head = bytes(self._got[:end]).lower()
            place = head.find(LENGTH)
            length = int(head[place + len(LENGTH) :].split(b"\r\n", 1)[0]) if place >= 0 else 0
            self._wanted = end + len(END_OF_HEAD) + length
        if len(self._got) >= self._wanted and self.answered is not None and not self.answered.done():
            head, _, body = bytes(self._got[: self._wanted]).partition(END_OF_HEAD)
            del self._got[: self._wanted]
            self._wanted = -1
            self.answered.set_result((head, body))

    def connection_lost(self, error: Exception | None) -> None:
        self.transport = None
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(error or ConnectionError("closed"))


@dataclass
class Generator:
    """
    Sends requests to one server and keeps what came back.

    Attributes:
        host: The server's.
        port: The server's.
        replies: What came back, in the order of its coming.
        most_open: Most connections open at once so far.
    """

    host: str
    port: int
    replies: list[Reply] = field(default_factory=list)
    most_open: int = 0
    _idle: deque[_Connection] = field(default_factory=deque)
    _open: int = 0

    async def at_rate(self, rate: float, seconds: float, request: Callable[[int], bytes]) -> None:
        """Send ``request(n)`` as the n-th, *rate* a second whether earlier ones were answered or not."""
        started = time.perf_counter()
        running: set[asyncio.Task[None]] = set()
        for number in range(round(rate * seconds)):
            due = started + number / rate
            wait_s = due - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            task = asyncio.create_task(self.send(request(number), due))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)

    async def in_ring(self, clients: int, seconds: float, request: Callable[[int], bytes]) -> None:
        """Have *clients* send one request after the other, each waiting for its answer."""
        until = time.perf_counter() + seconds
        number = 0

        async def client() -> None:
            nonlocal number
            while (due := time.perf_counter()) < until:
                number += 1
                await self.send(request(number), due)

        await asyncio.gather(*(client() for _ in range(clients)))

    async def send(self, request: bytes, due: float) -> None:
        """Send *request*, on an idle connection if there is one, and keep what comes back."""
        status, head, body = 0, b"", b""
        try:
            connection = await self._connection()
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                connection.answered = asyncio.get_running_loop().create_future()
                assert connection.transport is not None
                connection.transport.write(request)
                head, body = await connection.answered
            status = int(head[9:12])
            self._release(connection)
        except (OSError, TimeoutError) as error:
            head = f"{type(error).__name__}: {error}".encode()
        self.replies.append(Reply(status, due, (time.perf_counter() - due) * 1000, head, body))

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                return connection
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            _, connection = await loop.create_connection(_Connection, self.host, self.port)
        self._open += 1
        self.most_open = max(self.most_open, self._open)
        return connection

    def _release(self, connection: _Connection) -> None:
        if connection.transport is not None:
            self._idle.append(connection)

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None:
                connection.transport.close()
