"""User and item factors of a collaborative version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.errors import ArtifactCorrupt
from artifacts.manifest import Manifest

_USER_FACTORS, _ITEM_FACTORS = "user_factors.npy", "item_factors.npy"
_USERS, _ITEMS = "users.parquet", "items.parquet"
_PARAMETERS = "factors.json"
_COUNTS = "event_count"
_BLOCK = 65_536


@dataclass(frozen=True)
class Factors:
    """
    Implicit-feedback factors: the predicted preference of user u for item i is ``user_factors[u] @ item_factors[i]``.

    Args:
        user_ids: Length u; ``user_ids[row]`` is the user of ``user_factors[row]``.
        item_ids: Length i, the same for items; an item id is a product id.
        user_factors: float32, shape (u, f).
        item_factors: float32, shape (i, f).
        regularization: The lambda that the factors were trained with.
        alpha: What a confidence of 1 was multiplied by; with *regularization* it allows to fold in new users.
        event_counts: int64, shape (u,): how many events of each user had been accepted when the factors' data were
            read, those that do not count included; None where that was not recorded.

    Source:
        Hu, Koren, Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", 2008.
    """

    user_ids: list[str]
    item_ids: list[str]
    user_factors: NDArray[np.float32]
    item_factors: NDArray[np.float32]
    regularization: float
    alpha: float
    event_counts: NDArray[np.int64] | None = None
    _user_rows: dict[str, int] = field(init=False, repr=False, compare=False)
    _item_rows: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_user_rows", {user: row for row, user in enumerate(self.user_ids)})
        object.__setattr__(self, "_item_rows", {item: row for row, item in enumerate(self.item_ids)})
        if problem := self._problem():
            raise ArtifactCorrupt(
                f"The factors do not fit together: {problem}. Activate another version, or train again."
            )

    def user_row(self, user_id: str) -> int | None:
        """The row of a user, or None for a user the version has not seen."""
        return self._user_rows.get(user_id)

    def item_row(self, item_id: str) -> int | None:
        """The row of an item, or None for an item the version has not seen."""
        return self._item_rows.get(item_id)

    @cached_property
    def item_directions(self) -> NDArray[np.float32]:
        """The item factors at unit length, float32, shape (i, f); an item of length 0 stays 0. Made at first use."""
        lengths = np.linalg.norm(self.item_factors, axis=1, keepdims=True)
        return np.asarray(self.item_factors / np.where(lengths > 0, lengths, 1), dtype=np.float32)

    @cached_property
    def gram(self) -> NDArray[np.float64]:
        """The item factors' products with each other: float64, shape (f, f). Made at first use."""
        total = np.zeros((self.item_factors.shape[1],) * 2)
        for first in range(0, len(self.item_factors), _BLOCK):
            block = self.item_factors[first : first + _BLOCK].astype(np.float64)
            total += block.T @ block
        return total

    def event_count(self, user_id: str) -> int | None:
        """How many events of a user the version was trained with; None where that is not known."""
        row = self.user_row(user_id)
        return None if row is None or self.event_counts is None else int(self.event_counts[row])

    def save(self, directory: Path) -> None:
        """Write the factors' files into *directory*."""
        np.save(directory / _USER_FACTORS, self.user_factors, allow_pickle=False)
        np.save(directory / _ITEM_FACTORS, self.item_factors, allow_pickle=False)
        counts = {} if self.event_counts is None else {_COUNTS: pa.array(self.event_counts, pa.int64())}
        _write_ids(directory / _USERS, self.user_ids, **counts)
        _write_ids(directory / _ITEMS, self.item_ids)
        parameters = {"regularization": self.regularization, "alpha": self.alpha}
        (directory / _PARAMETERS).write_text(json.dumps(parameters) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, manifest: Manifest | None = None) -> Factors:
        """
        Read what `save` wrote.

        Args:
            manifest: Of the version; its dimension and counts must be those of the factors.

        Raises:
            ArtifactCorrupt: a file cannot be read, or the parts do not fit each other or the manifest.
        """
        factors = cls._read(directory)
        if manifest is not None and (problem := factors.misfit(manifest)):
            raise ArtifactCorrupt(f"The factors in {directory}: {problem}. Activate another version, or train again.")
        return factors

    @classmethod
    def _read(cls, directory: Path) -> Factors:
        try:
            parameters = json.loads((directory / _PARAMETERS).read_text(encoding="utf-8"))
            users = pq.read_table(directory / _USERS)
            return cls(
                user_ids=users["id"].to_pylist(),
                item_ids=_read_ids(directory / _ITEMS),
                user_factors=np.load(directory / _USER_FACTORS, allow_pickle=False),
                item_factors=np.load(directory / _ITEM_FACTORS, allow_pickle=False),
                regularization=float(parameters["regularization"]),
                alpha=float(parameters["alpha"]),
                event_counts=users[_COUNTS].to_numpy() if _COUNTS in users.column_names else None,
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, pa.ArrowException) as error:
            raise ArtifactCorrupt(
                f"The factors in {directory} cannot be read: {error}. Train collaborative again."
            ) from error

    def misfit(self, manifest: Manifest) -> str | None:
        """Return how the factors differ from what *manifest* says of them, or None."""
        found = {"users": len(self.user_ids), "items": len(self.item_ids)}
        for name, count in found.items():
            if manifest.counts.get(name, count) != count:
                return f"{count} {name} where the manifest says {manifest.counts[name]}"
        width = self.item_factors.shape[1]
        if manifest.dim not in (None, width):
            return f"{width} factors where the manifest says {manifest.dim}"
        return None

    def _problem(self) -> str | None:
        for name, ids, rows, factors in (
            ("user", self.user_ids, self._user_rows, self.user_factors),
            ("item", self.item_ids, self._item_rows, self.item_factors),
        ):
            if factors.ndim != 2 or factors.dtype != np.float32 or len(ids) != len(factors):  # noqa: PLR2004  a matrix
                return f"{len(ids)} {name} ids for {factors.dtype} of shape {factors.shape}"
            if None in rows or len(rows) != len(ids):
                return f"a {name} appears twice, or has no id"
            if not np.isfinite(factors).all():
                return f"a {name} factor is not finite"
        if self.event_counts is not None and self.event_counts.shape != (len(self.user_ids),):
            return f"{len(self.user_ids)} users for event counts of shape {self.event_counts.shape}"
        if self.user_factors.shape[1] != self.item_factors.shape[1]:
            return f"users have {self.user_factors.shape[1]} factors, items {self.item_factors.shape[1]}"
        return None


def _write_ids(path: Path, ids: Sequence[str], **columns: pa.Array) -> None:
    pq.write_table(pa.table({"id": pa.array(ids, pa.string()), **columns}), path)


def _read_ids(path: Path) -> list[str]:
    ids: list[str] = pq.read_table(path)["id"].to_pylist()
    return ids
