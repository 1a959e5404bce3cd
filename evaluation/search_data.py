"""The data sets that search is measured on: products, queries, and how well each product answers each query."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

Judgments = dict[str, dict[str, int]]
"""By query and product, from 0 (does not answer it) up."""

_LONGEST_TITLE = 1000


@dataclass(frozen=True)
class SearchSet:
    """
    Products to search, and what should be found.

    Args:
        name: As the command line knows it.
        title: What it is.
        products: As ``POST /v1/products`` takes them. Without ``created_at``: how new a product is does not count.
        queries: By their id.
        judgments: By the ids of queries and products.
        measures: Those of `search_metrics.MEASURES` that say something here.
        targets: What search by words and meaning should reach, by measure.
        reported: What simple methods reach, by method and measure.
    """

    name: str
    title: str
    products: list[dict[str, Any]]
    queries: dict[str, str]
    judgments: Judgments
    measures: tuple[str, ...]
    targets: dict[str, float]
    reported: dict[str, dict[str, float]] = field(default_factory=dict)


def icecat(directory: Path) -> SearchSet:
    """Product data sheets, queries of shoppers, judgments from 0 to 3 of what keyword search had found for them."""
    rows = pd.read_parquet(directory / "icecat" / "products.parquet")
    judged = pd.read_csv(directory / "icecat" / "judgments.tsv", sep="\t", dtype={"product_id": str})
    return SearchSet(
        name="icecat",
        title="Icecat",
        products=[
            _product(row, description="short_description", brand="supplier", price="price")
            for row in rows.to_dict("records")
        ],
        queries={query: query for query in judged["query"].unique()},
        judgments=_judgments(judged["query"], judged["product_id"], judged["rating"]),
        measures=("ndcg_at_10", "judged_ndcg_at_10"),
        targets={"ndcg_at_10": 0.80, "judged_ndcg_at_10": 0.92},
        reported={
            "BM25": {"ndcg_at_10": 0.770, "judged_ndcg_at_10": 0.868},
            "vectors": {"ndcg_at_10": 0.642, "judged_ndcg_at_10": 0.910},
            "RRF of the two": {"ndcg_at_10": 0.773, "judged_ndcg_at_10": 0.907},
        },
    )


def scifact(directory: Path) -> SearchSet:
    """Abstracts of papers, and claims that some of them support or refute; only those are judged."""
    rows = pd.read_parquet(directory / "scifact" / "corpus.parquet")
    asked = pd.read_parquet(directory / "scifact" / "queries.parquet")
    judged = pd.read_csv(directory / "scifact" / "qrels.tsv", sep="\t", dtype={"query-id": str, "corpus-id": str})
    return SearchSet(
        name="scifact",
        title="SciFact",
        products=[_product(row, description="text") for row in rows.to_dict("records")],
        queries={str(row.id): str(row.text) for row in asked.itertuples()},
        judgments=_judgments(judged["query-id"], judged["corpus-id"], judged["score"]),
        measures=("ndcg_at_10",),
        targets={"ndcg_at_10": 0.70},
        reported={"BM25": {"ndcg_at_10": 0.679}, "vectors": {"ndcg_at_10": 0.645}},
    )


SEARCH_SETS: dict[str, Callable[[Path], SearchSet]] = {"icecat": icecat, "scifact": scifact}


def _product(row: Mapping[Hashable, Any], **columns: str) -> dict[str, Any]:
    """The product of *row*, without those fields that are empty; *columns* by field."""
    fields = {field: row[column] for field, column in columns.items() if row[column] != "" and not pd.isna(row[column])}
    return {"id": str(row["id"]), "title": row["title"][:_LONGEST_TITLE], **fields}


def _judgments(queries: pd.Series[str], products: pd.Series[str], ratings: pd.Series[int]) -> Judgments:
    found: Judgments = {}
    for query, product_id, rating in zip(queries, products, ratings, strict=True):
        found.setdefault(query, {})[product_id] = int(rating)
    return found
