"""The data sets that recommendation quality is measured on, each cut into what is known and what should be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from artifacts.event_weights import BEST_RATING, EVENT_WEIGHTS
from evaluation.metrics import SparseMatrix
from evaluation.report import Published

LAST = timedelta(days=30)

_BARS = "BARS benchmark"
GOWALLA_PUBLISHED = [
    Published("MF-BPR", {"recall_at_20": 0.1627, "ndcg_at_20": 0.1378}, _BARS),
    Published("EASE", {"recall_at_20": 0.1765, "ndcg_at_20": 0.1467}, _BARS),
    Published("LightGCN", {"recall_at_20": 0.1830, "ndcg_at_20": 0.1554}, _BARS),
    Published("UltraGCN", {"recall_at_20": 0.1862, "ndcg_at_20": 0.1580}, _BARS),
    Published("SimpleX", {"recall_at_20": 0.1872, "ndcg_at_20": 0.1557}, _BARS),
]
_ULTRAGCN = "README of UltraGCN"
ML1M_PUBLISHED = [
    Published("NGCF", {"recall_at_20": 0.2513, "ndcg_at_20": 0.2511}, _ULTRAGCN),
    Published("LightGCN", {"recall_at_20": 0.2576, "ndcg_at_20": 0.2427}, _ULTRAGCN),
    Published("UltraGCN", {"recall_at_20": 0.2787, "ndcg_at_20": 0.2642}, _ULTRAGCN),
]


@dataclass(frozen=True)
class DataSet:
    """
    Interactions, cut.

    Args:
        name: As the command line knows it.
        title: What it is, and how it was cut.
        train: Columns ``user_id``, ``product_id``, ``confidence``, and ``at`` where there are times.
        test: Columns ``user_id`` and ``product_id``: what should be found.
        published: What others reported for the same cut.
        targets: What the factors should reach.
    """

    name: str
    title: str
    train: pd.DataFrame
    test: pd.DataFrame
    published: list[Published] = field(default_factory=list)
    targets: dict[str, float] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write what the job reads."""
        pq.write_table(pa.Table.from_pandas(self.train, preserve_index=False), path)

    def matrices(self, user_ids: list[str], item_ids: list[str]) -> tuple[SparseMatrix, SparseMatrix]:
        """
        Return known confidences and what should be found, CSR matrices (users, items) with the rows of the ids.

        What is known already is not to be found again; nor is anything for users and items that the train part does not
        have.
        """
        known, wanted = (_matrix(part, user_ids, item_ids) for part in (self.train, self.test))
        again = wanted.multiply(known > 0)
        wanted = sparse.csr_matrix(wanted - again)
        wanted.eliminate_zeros()
        return known, wanted


def gowalla(directory: Path) -> DataSet:
    """Check-ins, the cut of LightGCN."""
    targets = {"recall_at_20": 0.183, "ndcg_at_20": 0.150}
    train, test = _published_cut(directory / "cf" / "gowalla.parquet")
    return DataSet("gowalla", "Gowalla, the cut of LightGCN", train, test, GOWALLA_PUBLISHED, targets)


def ml1m(directory: Path) -> DataSet:
    """Film ratings, the cut of UltraGCN."""
    targets = {"recall_at_20": 0.277, "ndcg_at_20": 0.262}
    train, test = _published_cut(directory / "cf" / "ml1m.parquet")
    return DataSet("ml1m", "MovieLens-1M, the cut of UltraGCN", train, test, ML1M_PUBLISHED, targets)


def online_retail(directory: Path) -> DataSet:
    """Purchases of a wholesaler, the last month withheld."""
    lines = pd.read_parquet(directory / "online_retail" / "events.parquet")
    events = pd.DataFrame(
        {
            "user_id": lines["CustomerID"].astype(str),
            "product_id": lines["StockCode"].astype(str),
            "confidence": EVENT_WEIGHTS["purchase"],
            "at": lines["InvoiceDate"],
        }
    )
    train, test = _last_withheld(events)
    return DataSet("online-retail", "Online Retail, last 30 days withheld", train, test)


def x_wines(directory: Path) -> DataSet:
    """Ratings of wines, the last month withheld."""
    ratings = pd.read_parquet(directory / "xwines" / "ratings.parquet")
    weight = EVENT_WEIGHTS["rating"] * (ratings["Rating"] / BEST_RATING) ** 2
    events = pd.DataFrame(
        {
            "user_id": ratings["UserID"].astype(str),
            "product_id": ratings["WineID"].astype(str),
            "confidence": weight,
            "at": ratings["Date"],
        }
    )
    train, test = _last_withheld(events)
    return DataSet("x-wines", "X-Wines, last 30 days withheld", train, test)


DATA_SETS: dict[str, Callable[[Path], DataSet]] = {
    "gowalla": gowalla,
    "ml1m": ml1m,
    "online-retail": online_retail,
    "x-wines": x_wines,
}


def _published_cut(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    pairs = pd.read_parquet(path)
    frame = pd.DataFrame({"user_id": pairs["u"].astype(str), "product_id": pairs["i"].astype(str), "confidence": 1.0})
    return frame[~pairs["test"]], frame[pairs["test"]]


def _last_withheld(events: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    late = events["at"] > events["at"].max() - LAST
    return events[~late], events[late]


def _matrix(frame: pd.DataFrame, user_ids: list[str], item_ids: list[str]) -> SparseMatrix:
    users = pd.Index(user_ids).get_indexer(pd.Index(frame["user_id"]))
    items = pd.Index(item_ids).get_indexer(pd.Index(frame["product_id"]))
    there = (users >= 0) & (items >= 0)
    values = frame["confidence"].to_numpy(np.float32)[there]
    matrix = sparse.csr_matrix((values, (users[there], items[there])), shape=(len(user_ids), len(item_ids)))
    matrix.sum_duplicates()
    return matrix
