"""Candidates for ranking tests, with every value in plain sight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from contracts.candidates import Candidates, Placing


def candidates(
    product_ids: Sequence[str],
    *,
    search: Sequence[float] | None = None,
    popularity: Sequence[float] | None = None,
    age_days: Sequence[float] | None = None,
    out_of_stock: frozenset[str] = frozenset(),
    hidden: frozenset[str] = frozenset(),
    placings: dict[str, Placing] | None = None,
    categories: Sequence[str | None] = (),
) -> Candidates:
    size = len(product_ids)
    absent = [np.nan] * size
    return Candidates(
        product_ids=list(product_ids),
        search=np.array(absent if search is None else search, dtype=np.float64),
        popularity=np.array(absent if popularity is None else popularity, dtype=np.float64),
        age_days=np.array(absent if age_days is None else age_days, dtype=np.float64),
        in_stock=np.array([product_id not in out_of_stock for product_id in product_ids], dtype=np.bool_),
        hidden=np.array([product_id in hidden for product_id in product_ids], dtype=np.bool_),
        placings=placings or {},  # type: ignore[arg-type]  # retriever names are literals
        categories=list(categories),
    )
