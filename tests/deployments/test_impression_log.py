from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from catalogue.impressions import Impression
from deployments.hop import HopFailed
from deployments.impression_log import ATTEMPTS, BATCH, ImpressionLog


def impression(number: int) -> Impression:
    return Impression(
        request_id=str(number),
        shown_at=datetime(2026, 1, 1, tzinfo=UTC),
        kind="search",
        product_ids=["p"],
        ranks=[1],
        scores=[0.5],
    )


class Table:
    """Where impressions end up; refuses while it is down."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.down = False
        self.hangs = False

    async def write(self, impressions: list[Impression]) -> None:
        if self.down:
            raise ConnectionError("down")
        if self.hangs:
            await asyncio.Event().wait()
        self.written += [one.request_id for one in impressions]


class TestImpressionLog:
    async def test_everything_is_written_in_order(self) -> None:
        table = Table()
        log = ImpressionLog(table.write, capacity=1000)
        for number in range(BATCH + 5):
            log.add(impression(number))
        await log.flush()
        assert table.written == [str(number) for number in range(BATCH + 5)]

    async def test_what_cannot_be_written_waits(self) -> None:
        table = Table()
        log = ImpressionLog(table.write, capacity=10)
        log.add(impression(1))
        table.down = True
        await log.flush()
        table.down = False
        log.add(impression(2))
        await log.flush()
        assert table.written == ["1", "2"]

    async def test_beyond_its_capacity_the_oldest_are_dropped_and_counted(self) -> None:
        table = Table()
        log = ImpressionLog(table.write, capacity=2)
        for number in range(5):
            log.add(impression(number))
        await log.flush()
        assert (table.written, log.dropped) == (["3", "4"], 3)

    async def test_a_batch_that_keeps_failing_holds_up_the_others_only_for_so_long(self) -> None:
        table = Table()
        log = ImpressionLog(table.write, capacity=1000)
        for number in range(BATCH + 1):
            log.add(impression(number))
        table.down = True
        for _ in range(ATTEMPTS):
            await log.flush()
        table.down = False
        await log.flush()
        assert (table.written, log.dropped) == ([str(BATCH)], BATCH)

    async def test_what_is_refused_at_once_waits_for_as_long_as_it_takes(self) -> None:
        table = Table()
        refused = True

        async def write(impressions: list[Impression]) -> None:
            if refused:
                raise HopFailed("ingestion", "circuit_open", 0.1, 30.0, undone=True)
            await table.write(impressions)

        log = ImpressionLog(write, capacity=10)
        log.add(impression(1))
        for _ in range(10 * ATTEMPTS):
            await log.flush()
        refused = False
        await log.flush()
        assert (table.written, log.dropped) == (["1"], 0)

    async def test_stopping_in_the_middle_of_a_write_loses_nothing(self) -> None:
        table = Table()
        log = ImpressionLog(table.write, capacity=10)
        log.add(impression(1))
        table.hangs = True
        writing = asyncio.create_task(log.flush())
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        table.hangs = False
        await log.stop()
        assert table.written == ["1"]
