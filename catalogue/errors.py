"""
What can go wrong in an import before any line is looked at.

::

    CatalogueError
    ├── ImportRefused     fail: the file or the mapping is not what it should be; nothing is loaded
    └── DownloadFailed    fail: the example data cannot be fetched
"""

from __future__ import annotations


class CatalogueError(Exception):
    """The catalogue cannot do what was asked."""


class ImportRefused(CatalogueError):
    """The file cannot be imported as it is. Nothing was loaded."""


class DownloadFailed(CatalogueError):
    """The example data could not be fetched. Check the package index, or give the wheel's directory."""
