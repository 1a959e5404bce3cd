"""How far a reader of product changes has come."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

PATTERN = r"^([0-9]{1,20})-([0-9]{1,19})$"

MOST_TRANSACTIONS_AHEAD = 100_000
MOST_CHANGES_AHEAD = 100_000

Key = tuple[int, int]
"""A change: its transaction and its number."""


@dataclass(frozen=True, slots=True)
class FeedPosition:
    """
    The changes that a reader has applied: all up to a cursor, and those of some later transactions.

    The cursor stops before the oldest transaction that may still be open, since changes may yet appear there. What
    later transactions have committed is applied all the same, and remembered until the cursor has passed it. A
    transaction's changes become visible all at once, so remembering the transaction is enough; only one that a page cut
    in two is remembered with the place of the cut.

    Attributes:
        cursor: No change up to here, itself included, will ever have to be read again.
        ahead: Transactions beyond the cursor whose changes are applied; the last of them, and how many.
        cut: The last change that was applied of a transaction that there is more of, if any.
    """

    cursor: Key = (0, 0)
    ahead: Mapping[int, Key] = field(default_factory=dict)
    cut: Key | None = None

    @classmethod
    def parse(cls, text: str) -> FeedPosition:
        """
        Return the position that *text*, ``transaction-position``, names.

        Raises:
            ValueError: it names none.
        """
        found = re.fullmatch(PATTERN, text)
        if found is None:
            raise ValueError(f"{text!r} is no position of the change feed; one reads like 761-1682")
        return cls((int(found[1]), int(found[2])))

    def __str__(self) -> str:
        """As ``catalogue_position`` puts what it sees: the cursor, then ``+`` and how many later changes."""
        later = sum(changes for _, changes in self.ahead.values())
        return f"{self.cursor[0]}-{self.cursor[1]}" + (f"+{later}" if later else "")

    @property
    def first(self) -> Key:
        """The first change to ask for: the one at the cut, to see that its transaction is there, or the next one."""
        return self.cut or (self.cursor[0], self.cursor[1] + 1)

    @property
    def done(self) -> list[int]:
        """The transactions of which nothing needs to be asked for."""
        return [transaction for transaction in self.ahead if self.cut is None or transaction != self.cut[0]]

    @property
    def full(self) -> bool:
        """Whether no further transaction beyond an open one can be remembered."""
        changes = sum(changes for _, changes in self.ahead.values())
        return len(self.ahead) >= MOST_TRANSACTIONS_AHEAD or changes >= MOST_CHANGES_AHEAD

    def without_cut(self) -> FeedPosition:
        """The position without the transaction that was cut: it is read again from its beginning."""
        if self.cut is None:
            return self
        return replace(self, ahead={key: at for key, at in self.ahead.items() if key != self.cut[0]}, cut=None)

    def after(self, changes: Iterable[Key], *, open_from: int, more: bool) -> FeedPosition:
        """
        Return the position once *changes* are applied too.

        Args:
            changes: What a snapshot shows from `first` on but for `done`, in order; without the change at the cut.
            open_from: The oldest transaction that was still open in that snapshot.
            more: Whether the snapshot may show more behind them.
        """
        changes = list(changes)
        ahead, cursor = dict(self.ahead), self.cursor
        for transaction, number in changes:
            if transaction < open_from and self.cut is None:
                cursor = (transaction, number)
            else:
                ahead[transaction] = (number, ahead.get(transaction, (0, 0))[1] + 1)
        if self.cut is None:
            last = changes[-1] if more and changes else (open_from, 0)
            passed = [key for key, (number, _) in ahead.items() if key < open_from and (key, number) <= last]
            cursor = max([cursor, *((key, ahead.pop(key)[0]) for key in passed)])
        cut = changes[-1] if more and changes and changes[-1][0] in ahead else None
        return FeedPosition(cursor, ahead, cut)
