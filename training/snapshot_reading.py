"""What jobs read from a snapshot: the same as they would from Postgres at its time, by the same rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.checksums import first_difference
from artifacts.errors import ArtifactCorrupt, ArtifactMissing
from artifacts.event_weights import BEST_RATING, EVENT_WEIGHTS
from artifacts.manifest import MANIFEST_NAME
from training.errors import WrongInput
from training.interactions import Interactions, Numbering
from training.snapshot_manifest import PRODUCTS_FILE, USERS_FILE, SnapshotManifest
from training.snapshot_store import SnapshotStore

LATEST = "latest"
_ROWS_AT_ONCE = 262_144
_COLUMNS = ["user_id", "product_id", "type", "value", "occurred_at"]
_DECIMALS = 6
_RATING = "rating"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot whose files lie in *directory*, each as its manifest says."""

    directory: Path
    manifest: SnapshotManifest

    @property
    def name(self) -> str:
        """What manifests of artifacts call it."""
        return f"snapshots/{self.manifest.version}"

    def product_ids(self) -> list[str]:
        """The ids of all products."""
        ids: list[str] = pq.read_table(self.directory / PRODUCTS_FILE, columns=["id"])["id"].to_pylist()
        return ids

    def unavailable(self) -> list[str]:
        """The ids of the products that are hidden or out of stock."""
        table = pq.read_table(self.directory / PRODUCTS_FILE, columns=["id", "in_stock", "hidden"])
        ids: list[str] = table.filter(pc.or_(pc.invert(table["in_stock"]), table["hidden"]))["id"].to_pylist()
        return ids

    def event_counts(self) -> pa.Table:
        """How many events of each user were ever accepted, as `training.interactions.EVENT_COUNT_COLUMNS`."""
        return pq.read_table(self.directory / USERS_FILE)

    def weighed_events(self) -> Iterator[WeighedEvents]:
        """The events that weigh anything, on products that are there; by time, then id."""
        known = set(self.product_ids())
        for name in self.manifest.event_files:
            with pq.ParquetFile(self.directory / name) as file:
                for batch in file.iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
                    yield _weighed(batch, known)


@dataclass(frozen=True)
class WeighedEvents:
    """
    Some events.

    Attributes:
        user_ids, product_ids: Length n.
        weights: As the SQL function event_weight has them, float64, shape (n,).
        is_rating: bool, shape (n,).
        at: Microseconds since 1970, int64, shape (n,).
    """

    user_ids: pa.Array
    product_ids: pa.Array
    weights: NDArray[np.float64]
    is_rating: NDArray[np.bool_]
    at: NDArray[np.int64]


def open_snapshot(root: str, name: str) -> Snapshot:
    """
    Return a snapshot after verifying every file of it.

    Args:
        root: The artifact root.
        name: ``latest``, a version, or the path of a snapshot's directory.

    Raises:
        ArtifactMissing: there is none.
        ArtifactCorrupt: it is damaged.
        WrongInput: the directory is no snapshot.
    """
    if "/" in name or Path(name).is_dir():
        return _at(Path(name).expanduser())
    store = SnapshotStore(root)
    manifest = store.latest() if name == LATEST else store.manifest(name)
    if manifest is None:
        raise ArtifactMissing(f"There is no snapshot below {root}. Take one with `python -m training.snapshot`.")
    return Snapshot(store.fetch(manifest), manifest)


def snapshot_interactions(snapshot: Snapshot) -> Interactions:
    """
    Return the interactions of all users, by the rules of the statement ``interactions``.

    Weights add up over events, except that of several ratings of a product only the last one counts. Some 70 bytes an
    event are held while they are sorted.
    """
    users, items = Numbering(), Numbering()
    parts: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]]
    parts = [
        (users.numbered(each.user_ids), items.numbered(each.product_ids), each.weights, each.is_rating, each.at)
        for each in snapshot.weighed_events()
        if len(each.weights)
    ]
    if not parts:
        return Interactions.from_batches([])
    user_ids, user_places = users.in_order()
    item_ids, item_places = items.in_order()
    user_rows = user_places[np.concatenate([part[0] for part in parts])]
    item_rows = item_places[np.concatenate([part[1] for part in parts])]
    weights, is_rating, at = (np.concatenate([part[column] for part in parts]) for column in (2, 3, 4))
    del parts
    # Stable: the events of a pair stay in their order, its ratings last.
    order = np.lexsort((is_rating, item_rows, user_rows))
    user_rows, item_rows, weights, is_rating, at = (
        column[order] for column in (user_rows, item_rows, weights, is_rating, at)
    )
    changes = (user_rows[1:] != user_rows[:-1]) | (item_rows[1:] != item_rows[:-1])
    weights[:-1][is_rating[:-1] & is_rating[1:] & ~changes] = 0
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
    return Interactions(
        user_ids,
        item_ids,
        user_rows[starts],
        item_rows[starts],
        np.round(np.add.reduceat(weights, starts), _DECIMALS).astype(np.float32),
        np.maximum.reduceat(at, starts) / 1e6,
    )


def event_weights(types: pa.Array, values: pa.Array) -> NDArray[np.float64]:
    """What each event weighs, as the SQL function event_weight says; NaN for a type that has no weight."""
    encoded = types.dictionary_encode()
    own = np.array([EVENT_WEIGHTS.get(kind, np.nan) for kind in encoded.dictionary.to_pylist()], np.float64)
    weights: NDArray[np.float64] = own[encoded.indices.to_numpy()]
    is_rating, has_value = (
        column.to_numpy(zero_copy_only=False) for column in (pc.equal(types, _RATING), values.is_valid())
    )
    given = values.fill_null(0.0).to_numpy()
    # Postgres holds NaN to be above every number.
    on_scale = np.clip(np.where(np.isnan(given), BEST_RATING, given), 0, BEST_RATING) / BEST_RATING
    weights[is_rating & has_value] *= on_scale[is_rating & has_value] ** 2
    weights[is_rating & ~has_value] = EVENT_WEIGHTS["view"]
    return weights


def _weighed(batch: pa.RecordBatch, known: set[str]) -> WeighedEvents:
    encoded = batch["product_id"].dictionary_encode()
    is_known = np.array([product in known for product in encoded.dictionary.to_pylist()], np.bool_)
    weights = event_weights(batch["type"], batch["value"])
    kept = is_known[encoded.indices.to_numpy()] & ~np.isnan(weights)
    chosen = pa.array(kept)
    return WeighedEvents(
        batch["user_id"].filter(chosen),
        batch["product_id"].filter(chosen),
        weights[kept],
        pc.equal(batch["type"], _RATING).to_numpy(zero_copy_only=False)[kept],
        batch["occurred_at"].cast(pa.int64()).to_numpy()[kept],
    )


def _at(directory: Path) -> Snapshot:
    try:
        manifest = SnapshotManifest.read((directory / MANIFEST_NAME).read_bytes())
    except (OSError, ValueError) as error:
        raise WrongInput(f"{directory} is no snapshot: {error}") from error
    if difference := first_difference(directory, manifest):
        raise ArtifactCorrupt(f"{directory}: {difference}. Take another snapshot.")
    return Snapshot(directory, manifest)
