"""A stack that knows only what came before a cut, asked for what came after it."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from artifacts.factors import Factors
from artifacts.store import ArtifactStore
from evaluation.agreement import Agreement, UserLists, estimate
from evaluation.metrics import SparseMatrix, ranking_metrics
from evaluation.recommendation import Estimate, evaluate
from evaluation.recommenders import GivenLists
from evaluation.report import Comparison
from evaluation.segments import segments
from evaluation.served import ServedRecommendations
from evaluation.shop import NotReady, own_stack, shortlist
from training.collaborative_data import TrainingData
from training.holdout import Holdout
from training.interactions import Interactions
from training.served_check import asked, compared, list_matrix, users_to_ask
from training.snapshot_files import EVENTS
from training.snapshot_manifest import PRODUCTS_FILE
from training.snapshot_reading import Snapshot

SERVED, OFFLINE = "served, over HTTP", "the same version offline"
_EVENT_COLUMNS = ["id", "user_id", "product_id", "type", "value", "occurred_at"]
_LOADED_S = 120.0
_LOOKS = 6


def served_from_the_past(
    data: TrainingData, snapshot: Snapshot, holdout: Holdout, quality: Comparison, flags: argparse.Namespace
) -> tuple[Agreement, Estimate]:
    """
    Start a stack, fill it with what *holdout* knows, train, ask, and add what it finds to *quality*.

    Returns:
        The agreement of served and offline lists, and NDCG@20 served less offline.

    Raises:
        NotReady: the stack did not come up, or did not load what it trained.
    """
    interactions = data.interactions
    before = known_before(interactions, holdout)
    with own_stack() as (url, state_dir):
        with tempfile.TemporaryDirectory() as directory:
            products, events = loadable(snapshot, interactions, before, Path(directory))
            shortlist(state_dir, "load", "products", str(products))
            shortlist(state_dir, "load", "events", str(events))
        shortlist(state_dir, "train", "popularity", "collaborative")
        store = ArtifactStore(str(state_dir / "artifacts"))
        version = store.active_version("collaborative")
        assert version is not None
        manifest = store.manifest("collaborative", version)
        factors = Factors.load(store.fetch("collaborative", version), manifest)
        users = users_to_ask(interactions, factors, holdout.users, flags.users)
        _wait_for(url, interactions.user_ids[users[0]], version)
        lists = asked(url, interactions, before, factors, users)
    item_ids, known_then, wanted = with_new_products(lists, interactions, holdout)
    values = []
    for name, found in (
        (OFFLINE, [each.offline for each in lists]),
        (SERVED, [each.served.product_ids for each in lists]),
    ):
        matrix = list_matrix(found, item_ids)
        given = GivenLists(users, matrix)
        quality.evaluations[name] = evaluate(given, known_then, wanted, users=users, parts=segments(known_then))
        values.append(ranking_metrics(matrix, wanted[users])["ndcg_at_20"])
    quality.notes["asked over HTTP"] = f"{len(users)} users, of a stack that knows what came before the cut"
    return compared(lists, factors, manifest, snapshot.unavailable()), estimate(values[1] - values[0])


def known_before(interactions: Interactions, holdout: Holdout) -> NDArray[np.bool_]:
    """Which interactions the hold-out knows, bool of shape (n,)."""
    withheld = np.asarray(holdout.wanted[interactions.users, interactions.items]).ravel() > 0
    return np.asarray(~withheld)


def with_new_products(
    lists: list[UserLists], interactions: Interactions, holdout: Holdout
) -> tuple[list[str], SparseMatrix, SparseMatrix]:
    """The item ids and both matrices of *holdout*, with products that are served though nobody ever cared for them."""
    there = set(interactions.item_ids)
    new = sorted({product for each in lists for product in each.served.product_ids} - there)
    matrices = [holdout.known.copy(), holdout.wanted.copy()]
    for matrix in matrices:
        matrix.resize(len(interactions.user_ids), len(there) + len(new))
    return [*interactions.item_ids, *new], matrices[0], matrices[1]


def loadable(
    snapshot: Snapshot, interactions: Interactions, known: NDArray[np.bool_], directory: Path
) -> tuple[Path, Path]:
    """The snapshot's products, and its events on known pairs up to the cut, as files that can be loaded."""
    users, items = interactions.users[known].tolist(), interactions.items[known].tolist()
    pairs = {
        (interactions.user_ids[user], interactions.item_ids[item]) for user, item in zip(users, items, strict=True)
    }
    events = directory / "events.parquet"
    fields = [EVENTS.field(name) for name in _EVENT_COLUMNS]
    # As an import calls it.
    schema = pa.schema([*fields[:-1], fields[-1].with_name("timestamp")])
    with pq.ParquetWriter(events, schema) as writer:
        for name in snapshot.manifest.event_files:
            table = pq.read_table(snapshot.directory / name, columns=_EVENT_COLUMNS).rename_columns(schema.names)
            of = zip(table["user_id"].to_pylist(), table["product_id"].to_pylist(), strict=True)
            writer.write_table(table.filter(pa.array([pair in pairs for pair in of], pa.bool_())))
    products = directory / "products.jsonl"
    with products.open("w", encoding="utf-8") as file, pq.ParquetFile(snapshot.directory / PRODUCTS_FILE) as rows:
        for batch in rows.iter_batches():
            file.writelines(_line(row) for row in batch.to_pylist())
    return products, events


def _line(row: dict[str, Any]) -> str:
    """A product of a snapshot as it is imported."""
    row = {name: value for name, value in row.items() if value is not None and name != "updated_at"}
    row["created_at"] = row["created_at"].isoformat()
    if "price" in row:
        row["price"] = float(row["price"])
    return json.dumps(row | {"attributes": json.loads(row.get("attributes", "{}"))}) + "\n"


def _wait_for(url: str, user_id: str, version: str) -> None:
    """Return once every replica answers from *version*."""
    until = time.monotonic() + _LOADED_S
    seen = 0
    with ServedRecommendations(url) as shop:
        while seen < _LOOKS:
            seen = seen + 1 if shop.of(user_id).version == version else 0
            if time.monotonic() > until:
                raise NotReady(f"{url} does not answer from collaborative {version} after {_LOADED_S:g} s")
            if not seen:
                time.sleep(1.0)
