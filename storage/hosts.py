"""The servers that one URL names; where there are several, the one of them that plays the part it is wanted for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from storage.connection import Connection
from storage.named_queries import QUERIES
from storage.server_failures import SERVER_FAILURES, text_of

Role = Literal["primary", "replica"]

logger = logging.getLogger(__name__)

SURVEY_GRACE_S = 0.3
"""How much longer a survey listens, once it found a primary, for one on a newer timeline."""


def host_urls(url: str) -> list[str]:
    """
    Return one DSN for each host that *url* names, in their order.

    Hosts and ports are lists separated by commas, before the path or as ``host=`` and ``port=``; one port may stand for
    all hosts.

    Raises:
        ValueError: there are several ports, but not one for each host.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    account, at, hostspec = parts.netloc.rpartition("@")
    if hostspec:
        return [_dsn(parts, netloc=f"{account}{at}{host}") for host in hostspec.split(",")]
    hosts = query.get("host", "").split(",")
    ports = query.get("port", "").split(",")
    if len(ports) == 1:
        ports *= len(hosts)
    if len(hosts) != len(ports):
        raise ValueError(f"{len(hosts)} hosts, but {len(ports)} ports")
    return [
        _dsn(parts, query=urlencode({**query, **_given(host=host, port=port)}, safe="/:"))
        for host, port in zip(hosts, ports, strict=True)
    ]


class Hosts:
    """
    Makes connections to one server: the only one, or that one of several which is the primary, or a read replica.

    With several hosts all are asked side by side what they are, so that one that hangs delays nobody. Of two that claim
    to be the primary the one on the newer timeline is right, and none on an older timeline than was seen is ever
    followed; of several replicas the first is taken. That host is kept until it fails, so that all connections lead to
    one server.

    Args:
        url: asyncpg DSN.
        role: What to look for among several hosts.
        timeout_s: Longest wait for a host.
        on_switch: Called when another host than before is taken.

    Attributes:
        timeline: The newest that a primary was on when the hosts were asked; 0 before.
    """

    def __init__(self, url: str, *, role: Role, timeout_s: float, on_switch: Callable[[], None]) -> None:
        urls = host_urls(url)
        self._urls = urls if len(urls) > 1 else [url]
        self._role = role
        self.timeline = 0
        self._timeout_s = timeout_s
        self._on_switch = on_switch
        self._current: str | None = None
        self._last: str | None = None
        self._survey: asyncio.Task[str] | None = None
        self._surveyed_at = -1e9

    @property
    def several(self) -> bool:
        """Whether there is a choice."""
        return len(self._urls) > 1

    async def connect(self, **options: Any) -> Connection:  # noqa: ANN401 - as asyncpg's own
        """
        Return a new connection; *options* are those of ``asyncpg.connect``.

        Raises:
            OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError: no host answers as it should.
        """
        if not self.several:
            return await asyncpg.connect(self._urls[0], **options)
        if self._current is not None:
            try:
                return await self._connect_to(self._current, **options)
            except SERVER_FAILURES:
                self.forget()
        return await self._connect_to(await self.find(), **options)

    def forget(self) -> None:
        """Look again before the next connection."""
        self._current = None

    async def find(self) -> str:
        """
        Return the DSN of the host to take now, having asked all of them; callers at once share the answer.

        Raises:
            asyncpg.TargetServerAttributeNotMatched: none of them is.
        """
        if self._survey is None or self._survey.done():
            self._survey = asyncio.create_task(self._ask_all(), name="database-hosts")
        return await asyncio.shield(self._survey)

    async def check(self, *, apart_s: float) -> None:
        """Look whether another host is to be taken now, unless that was looked at just now."""
        if self.several and time.monotonic() - self._surveyed_at >= apart_s:
            await self.find()

    async def look_for(self, timeline: int, *, apart_s: float) -> None:
        """
        Look for a primary of *timeline* where none so new is known, at most once in *apart_s* for all callers together.

        Whoever asks too soon waits for their turn, so that the answer is newer than the question.
        """
        asked_at = time.monotonic()
        if not self.several or self.timeline >= timeline:
            return
        await asyncio.sleep(max(0.0, self._surveyed_at + apart_s - asked_at))
        if self._surveyed_at < asked_at:
            await self.find()

    def close(self) -> None:
        """End a look that is under way."""
        if self._survey is not None:
            self._survey.cancel()

    async def _connect_to(self, url: str, **options: Any) -> Connection:  # noqa: ANN401 - as asyncpg's own
        """Connect to *url*; a replica is taken as it is, since one that was promoted still answers reads."""
        wanted = SessionAttribute.read_write if self._role == "primary" else SessionAttribute.any
        connection: Connection = await asyncpg.connect(url, target_session_attrs=wanted, **options)
        if url != self._last:
            connection.terminate()
            raise asyncpg.TargetServerAttributeNotMatched("another host was taken meanwhile")
        return connection

    async def _ask_all(self) -> str:
        self._surveyed_at = time.monotonic()
        asked = {asyncio.create_task(self._ask(url)): url for url in self._urls}
        found: dict[str, int] = {}
        problems: list[str] = []
        pending = set(asked)
        try:
            while pending:
                done, pending = await asyncio.wait(
                    pending,
                    timeout=SURVEY_GRACE_S if found else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    error = task.exception()
                    if error is not None:
                        problems.append(text_of(error))
                    elif task.result() < self.timeline:
                        problems.append(f"still on timeline {task.result()}, where {self.timeline} was seen")
                    else:
                        found[asked[task]] = task.result()
                if found and not done:
                    break
        finally:
            for task in pending:
                task.cancel()
        if not found:
            raise asyncpg.TargetServerAttributeNotMatched(
                f"none of the {len(self._urls)} hosts is a {self._role}: {'; '.join(problems)}"
            )
        url = max((url for url in self._urls if url in found), key=lambda url: found[url])
        self._settle(url, found[url])
        return url

    async def _ask(self, url: str) -> int:
        """Return the timeline of the primary at *url*, 0 for a replica; raise where it is not what is wanted."""
        wanted = SessionAttribute.read_write if self._role == "primary" else SessionAttribute.standby
        connection = await asyncpg.connect(url, target_session_attrs=wanted, timeout=self._timeout_s)
        try:
            if self._role == "replica":
                return 0
            timeline: int = await connection.fetchval(QUERIES["primary_timeline"], timeout=self._timeout_s)
        finally:
            connection.terminate()
        return timeline

    def _settle(self, url: str, timeline: int) -> None:
        self.timeline = max(timeline, self.timeline)
        if self._last not in (None, url):
            logger.warning("another host is the %s now", self._role)
            self._on_switch()
        self._current = self._last = url


def _dsn(parts: SplitResult, *, netloc: str | None = None, query: str | None = None) -> str:
    query = parts.query if query is None else query
    place = parts.netloc if netloc is None else netloc
    return f"{parts.scheme}://{place}{parts.path}{'?' if query else ''}{query}"


def _given(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
