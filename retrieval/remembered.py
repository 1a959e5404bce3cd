"""What is known of candidates while no database answers: from the catalogue in memory, and from the cache."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from contracts.candidates import BoolArray, Candidates, FloatArray
from contracts.deadline import time_left_s, time_limit
from contracts.requests import ReadRequest
from retrieval.epoch import Epoch
from retrieval.feature_cache import FeatureCache
from retrieval.fusion import Fused
from retrieval.live_catalogue import LiveCatalogue, Look
from retrieval.product_features import ProductFeatures
from storage.errors import CacheUnavailable

Value = TypeVar("Value")

CACHE_SHARE = 0.5
"""What the cache may take of the time left, so that what the catalogue in memory knows is not lost with it."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """
    Candidates with the features that are known of them.

    Attributes:
        candidates: Those that were there, might be shown and passed the request's filters when that was last known.
        epoch: What of the catalogue was seen last, to which the popularity belongs; None if nothing ever was.
    """

    candidates: Candidates
    epoch: Epoch | None


async def remembered(
    fused: Fused,
    *,
    request: ReadRequest,
    relevance: bool,
    epoch: Epoch | None,
    revisions: Mapping[str, int],
    cache: FeatureCache | None,
    catalogue: LiveCatalogue | None,
) -> Remembered | None:
    """
    Return the fused products as far as they are known to pass the request's filters; None where nothing is known.

    The catalogue in memory knows which there are, what is in stock and what passes; one that it does not know is left
    out. Without it the cached features say so; of a product without any nothing is known, so that it stays, as in
    stock, unless there are filters. A cache that hangs costs no more than half of the time that a `time_limit` leaves,
    and never what the catalogue knows.
    """
    look = None if catalogue is None else await asyncio.to_thread(catalogue.look, request)
    columns = None if look is None else look.columns
    known = {**revisions, **(columns.revisions(fused.product_ids) if columns else {})}
    version = None if epoch is None else epoch.popularity
    left_s = time_left_s()
    timeout_s = None if left_s is None else left_s * CACHE_SHARE
    features, popularity = await asyncio.gather(
        _found(cache.features(known) if cache and known else None, timeout_s),
        _found(cache.popularity(fused.product_ids, version) if cache and version else None, timeout_s),
    )
    if columns is None and not features and not popularity:
        return None
    keep, in_stock = (
        _by_catalogue(look, fused.product_ids)
        if look is not None and columns is not None
        else _by_features(features, fused.product_ids, request)
    )
    candidates = Candidates(
        product_ids=fused.product_ids,
        search=fused.scores if relevance else np.full(len(fused.product_ids), np.nan),
        popularity=np.array([popularity.get(product_id, np.nan) for product_id in fused.product_ids], dtype=np.float64),
        age_days=_age_days(features, fused.product_ids, epoch),
        in_stock=in_stock,
        hidden=np.zeros(len(fused.product_ids), dtype=np.bool_),
        placings=fused.placings,
        categories=[features[each].category if each in features else None for each in fused.product_ids],
    )
    return Remembered(candidates.only(keep), epoch)


def _by_catalogue(look: Look, product_ids: Sequence[str]) -> tuple[BoolArray, BoolArray]:
    """Which products may be shown and pass the filters, and which are in stock."""
    assert look.columns is not None
    assert look.keep is not None
    slots = look.columns.slots_of(product_ids)
    # A product that was met after the look has a slot beyond its mask; -1 stands for it as for an unknown one.
    slots[slots >= len(look.keep)] = -1
    keep: BoolArray = np.append(look.keep, False)[slots]
    return keep, look.columns.in_stock(slots)


def _by_features(
    features: Mapping[str, ProductFeatures], product_ids: Sequence[str], request: ReadRequest
) -> tuple[BoolArray, BoolArray]:
    keep, in_stock = [], []
    for product_id in product_ids:
        product = features.get(product_id)
        keep.append(not request.filtered if product is None else not product.hidden and product.passes(request))
        in_stock.append(product is None or product.in_stock)
    return np.array(keep, dtype=np.bool_), np.array(in_stock, dtype=np.bool_)


def _age_days(features: Mapping[str, ProductFeatures], product_ids: Sequence[str], epoch: Epoch | None) -> FloatArray:
    ages = np.full(len(product_ids), np.nan)
    if epoch is not None and epoch.window_end is not None:
        for row, product_id in enumerate(product_ids):
            if product_id in features:
                ages[row] = (epoch.window_end.date() - features[product_id].created_at.date()).days
    return ages


async def _found(look: Awaitable[dict[str, Value]] | None, timeout_s: float | None) -> dict[str, Value]:
    if look is None:
        return {}
    try:
        async with time_limit(timeout_s):
            return await look
    except (CacheUnavailable, TimeoutError):
        return {}
