"""
Consistency tokens: what a write returns and a later read may carry, to be sure to see that write.

A token names a place in the primary's write-ahead log: ``<timeline>-<WAL position>``, for instance ``1-0/3A5F2B0``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PATTERN = r"^[1-9][0-9]{0,9}-[0-9A-F]{1,8}/[0-9A-F]{1,8}$"


@dataclass(frozen=True, slots=True)
class ConsistencyToken:
    """
    A place in the write-ahead log.

    Attributes:
        timeline: The primary's timeline; a promotion starts another.
        position: Bytes from the log's beginning (an LSN as a number).
    """

    timeline: int
    position: int

    @classmethod
    def parse(cls, text: str) -> ConsistencyToken:
        """
        Return the token that *text* is.

        Raises:
            ValueError: it is not one.
        """
        if not re.fullmatch(PATTERN, text):
            raise ValueError("is not a consistency token; send back what a write returned in X-Consistency-Token")
        timeline, lsn = text.split("-")
        high, low = lsn.split("/")
        return cls(int(timeline), (int(high, 16) << 32) + int(low, 16))

    def __str__(self) -> str:
        return f"{self.timeline}-{self.position >> 32:X}/{self.position & 0xFFFFFFFF:X}"
