"""
What can go wrong in an import before any line is looked at, and in upkeep.

::

    CatalogueError
    ├── ImportRefused     fail: the file or the mapping is not what it should be; nothing is loaded
    ├── DownloadFailed    fail: the example data cannot be fetched
    └── EventsBusy        retry: the events stayed locked
"""

from __future__ import annotations


class CatalogueError(Exception):
    """The catalogue cannot do what was asked."""


class ImportRefused(CatalogueError):
    """The file cannot be imported as it is. Nothing was loaded."""


class DownloadFailed(CatalogueError):
    """The example data could not be fetched. Check the package index, or give the wheel's directory."""


class EventsBusy(CatalogueError):
    """The events stayed locked by a long statement. Nothing was changed; it is tried again when it is next due."""

    def __init__(self, attempts: int) -> None:
        super().__init__(
            f"The events stayed locked over {attempts} attempts. Look for long statements in pg_stat_activity, "
            "or run: shortlist maintain --task partitions, at a quieter time."
        )
