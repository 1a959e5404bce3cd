"""The feature ``cf`` as other factors would have given it."""

from __future__ import annotations

import numpy as np

from artifacts.factors import Factors
from artifacts.manifest import Manifest
from evaluation.logged_answers import Chosen, LoggedAnswers, Vector
from ranking.features import collaborative

_CHUNK = 65_536


def cf_by(answers: LoggedAnswers, factors: Factors, manifest: Manifest) -> Vector:
    """
    Return ``cf`` of each row by *factors*, shape (n,); NaN where they do not know the user or the product.

    The user's vector is the one that was trained; serving folds in what the user did since.
    """
    user_rows = [-1 if user is None else _row(factors.user_row(user)) for user in answers.user_ids]
    users = np.array(user_rows, dtype=np.int64)[answers.answer_of]
    items = np.array([_row(factors.item_row(product_id)) for product_id in answers.product_ids], dtype=np.int64)
    known = np.flatnonzero((users >= 0) & (items >= 0))
    cf = np.full(len(users), np.nan)
    for first in range(0, len(known), _CHUNK):
        rows = known[first : first + _CHUNK]
        dots = np.einsum(
            "nf,nf->n",
            factors.user_factors[users[rows]].astype(np.float64),
            factors.item_factors[items[rows]].astype(np.float64),
        )
        cf[rows] = collaborative(dots, manifest.parameters.get("cf_transform", {"kind": "clip"}))
    return cf


def unseen_by(answers: LoggedAnswers, *manifests: Manifest) -> Chosen:
    """
    Return which answers came after all that the versions of *manifests* were trained on, shape (m,).

    Factors that have seen an answer's clicks would be asked for what they were told.
    """
    ends = [each.data_window.end.timestamp() for each in manifests if each.data_window is not None]
    return answers.shown_at > max(ends, default=-np.inf)


def _row(row: int | None) -> int:
    return -1 if row is None else row
