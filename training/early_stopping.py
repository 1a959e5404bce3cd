"""When to stop learning: as soon as the held-out figure has not risen for a while."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class EarlyStopping:
    """
    The best figure so far, and how long ago that was.

    Attributes:
        patience: After how many looks in a row without a better figure it is time to stop.
        best: The best figure; None before the first look.
        best_step: After how many steps it was seen.
        without: Looks since then.
    """

    patience: int
    best: float | None = None
    best_step: int = 0
    without: int = 0

    def saw(self, figure: float, step: int) -> bool:
        """Take note of the *figure* after *step* steps; return whether it is the best so far. NaN never is."""
        if figure == figure and (self.best is None or figure > self.best):  # noqa: PLR0124  not NaN
            self.best, self.best_step, self.without = figure, step, 0
            return True
        self.without += 1
        return False

    @property
    def is_over(self) -> bool:
        """Whether to stop."""
        return self.without >= self.patience

    def as_state(self) -> dict[str, Any]:
        """What makes it anew: ``EarlyStopping(**state)``."""
        return asdict(self)
