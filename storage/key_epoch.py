"""The epoch that the cache's keys begin with: all processes share it, and it moves when the cache has been away."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

EPOCH_KEY = "shortlist:key_epoch"
"""Where the server holds the epoch in force."""

NAMESPACE = "shortlist:"

# KEYS[1] the epoch's key. ARGV: [1] the number of the epoch that the caller knows, 0 for none; [2] how many
# milliseconds ago the caller last lost the server, -1 if it can rely on it; [3] what tells epochs of one number apart.
# Returns the epoch in force: the present one, unless it is earlier than the caller's or, for a caller that was away,
# did not begin after its loss; then a fresh one. (When an epoch of the future began nobody knows.)
SETTLE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local current = redis.call('MGET', KEYS[1])[1]
local began = tonumber(current and string.match(current, '^(%d+)%-%x+$')) or 0
local known, away = tonumber(ARGV[1]), tonumber(ARGV[2])
if began > 0 then
    if away < 0 and began >= known then return current end
    if away >= 0 and began > known and began > now - away and began <= now then return current end
end
local fresh = string.format('%.0f-%s', math.max(now, known + 1, began + 1), ARGV[3])
redis.call('SET', KEYS[1], fresh)
return fresh
"""

NOT_AWAY = -1

_EPOCH = re.compile(r"(\d{1,15})-[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class Question:
    """What a process asks the server to settle, put when it had been away *losses* times."""

    known: int
    away_ms: int
    losses: int

    @property
    def arguments(self) -> tuple[int, int, str]:
        """The arguments of the script."""
        return self.known, self.away_ms, secrets.token_hex(3)


class KeyEpoch:
    """
    What one process knows of the epoch.

    An epoch is the server's time when it began, in milliseconds since 1970, and a few random digits: a later one has a
    greater number. Of processes that come back from an outage the first moves the epoch (the server decides who is
    first), and the others take the new one over: it began after each of them had lost the server. One that began before
    is moved, however late a process has heard of it. A process that was not away takes over whatever is later than what
    it knows; an earlier epoch, or none, means that the server has lost what it knew, and the epoch is moved too.

    Args:
        clock: Seconds from an arbitrary start, never going back.

    Attributes:
        current: The epoch that was in force when the server was last asked; None before that.
        moves: How often it was seen to move.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.current: str | None = None
        self.moves = 0
        self._clock = clock
        self._settled = False
        self._losses = 0
        self._lost_at: float | None = None

    @property
    def settled(self) -> bool:
        """Whether the server need not be asked before the next call; each call shows whether that still holds."""
        return self._settled and self._lost_at is None

    def lost(self) -> None:
        """Note that the server is away: what is there now is not to be read when it is back."""
        self._losses += 1
        self._lost_at = self._clock()

    def question(self) -> Question:
        """What to have settled by the server."""
        # Rounded down: by the server's clock the loss was then, or a little later.
        away_ms = NOT_AWAY if self._lost_at is None else int((self._clock() - self._lost_at) * 1000)
        return Question(began_at(self.current), away_ms, self._losses)

    def answered(self, question: Question, epoch: str) -> str:
        """Take over *epoch*, which the server gave as the answer to *question*; return it."""
        if question.losses == self._losses:
            self._lost_at = None
        self._adopt(epoch)
        self._settled = True
        return epoch

    def saw(self, used: str, seen: bytes | None) -> bool:
        """Return whether a call that *used* an epoch, and found *seen* to be in force, did so rightly."""
        epoch = None if seen is None else seen.decode(errors="replace")
        if epoch == used:
            return self.settled and used == self.current
        if began_at(epoch) > began_at(self.current):
            self._adopt(str(epoch))
        elif epoch != self.current:
            self._settled = False
        return False

    def _adopt(self, epoch: str) -> None:
        if epoch == self.current or began_at(epoch) < began_at(self.current):
            return
        if self.current is not None:
            self.moves += 1
            log.warning("the cache's keys begin with %s from now on, and no longer with %s", epoch, self.current)
        self.current = epoch


def began_at(epoch: str | None) -> int:
    """When *epoch* began, in milliseconds since 1970 by the server's clock; 0 for what is no epoch."""
    match = _EPOCH.fullmatch(epoch or "")
    return int(match[1]) if match else 0


def stored_key(epoch: str, key: str) -> str:
    """The name under which the server holds *key* in *epoch*."""
    return f"{NAMESPACE}{epoch}:{key}"


def parted(stored: str) -> tuple[str, str] | None:
    """The epoch and the key that a name on the server stands for; None for one that is not of the cache."""
    epoch, separator, key = stored.removeprefix(NAMESPACE).partition(":")
    if not stored.startswith(NAMESPACE) or not separator or not began_at(epoch):
        return None
    return epoch, key
