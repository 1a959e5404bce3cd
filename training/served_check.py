"""Served recommendations of some users beside those of the same version offline."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from artifacts.factors import Factors
from artifacts.manifest import Manifest
from evaluation.agreement import LISTED, Agreement, UserLists, agreement
from evaluation.metrics import Lists
from evaluation.recommenders import Rows
from evaluation.served import ServedRecommendations
from training.errors import NothingToTrainOn
from training.interactions import Interactions

SEED = 7


def users_to_ask(interactions: Interactions, factors: Factors, rows: Rows, count: int) -> Rows:
    """
    Return at most *count* of *rows* of the interactions' users, drawn by chance from those in the factors.

    Raises:
        NothingToTrainOn: the factors know none of them.
    """
    there = np.array([row for row in rows.tolist() if factors.user_row(interactions.user_ids[row]) is not None], int)
    if not len(there):
        raise NothingToTrainOn("The version in use knows none of these users. Train collaborative anew.")
    return np.sort(np.random.default_rng(SEED).permutation(there)[:count])


def asked(
    url: str, interactions: Interactions, known: NDArray[np.bool_] | None, factors: Factors, users: Rows
) -> list[UserLists]:
    """
    Ask the stack at *url* for *users*, and the factors beside it.

    Args:
        interactions: Of all users.
        known: Which interactions, bool of shape (n,), lie in the past; None: all.
        factors: Of the active version; they have each of *users*.
        users: Rows of the interactions' users.

    Raises:
        NotServed: an answer is missing.
    """
    lists = []
    with ServedRecommendations(url) as shop:
        for row in users.tolist():
            user_id = interactions.user_ids[row]
            first, end = np.searchsorted(interactions.users, [row, row + 1])
            items = interactions.items[first:end]
            if known is not None:
                items = items[known[first:end]]
            seen = frozenset(interactions.item_ids[item] for item in items.tolist())
            lists.append(UserLists(user_id, shop.of(user_id), offline_list(factors, user_id, seen), seen))
    return lists


def offline_list(factors: Factors, user_id: str, without: Collection[str]) -> list[str]:
    """The first `LISTED` products by the factors alone, equal ones by id."""
    row = factors.user_row(user_id)
    if row is None:
        return []
    scores = factors.item_factors @ factors.user_factors[row]
    left_out = [item for product in without if (item := factors.item_row(product)) is not None]
    scores[left_out] = -np.inf
    best = np.lexsort((np.arange(len(scores)), -scores))[:LISTED]
    return [factors.item_ids[item] for item in best.tolist() if np.isfinite(scores[item])]


def compared(lists: list[UserLists], factors: Factors, manifest: Manifest, unavailable: Collection[str]) -> Agreement:
    """How far *lists* agree, by the transform of the version's manifest."""
    transform = manifest.parameters.get("cf_transform", {"kind": "clip"})
    return agreement(lists, factors, version=manifest.version, transform=transform, unavailable=unavailable)


def list_matrix(lists: list[list[str]], item_ids: list[str]) -> Lists:
    """Product ids as item rows, int32, shape (n, `LISTED`), -1 beyond the last; what is no item keeps its place."""
    rows = {item: row for row, item in enumerate(item_ids)}
    # Beyond the last item, each another one: nobody wants it, and it takes a place.
    found = np.full((len(lists), LISTED), -1, dtype=np.int32)
    for place, products in enumerate(lists):
        numbers = [rows.get(product, len(item_ids) + rank) for rank, product in enumerate(products[:LISTED])]
        found[place, : len(numbers)] = numbers
    return found
