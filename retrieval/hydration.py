"""Features and attributes of many products at once: one batched read a source, the sources side by side."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import numpy as np

from contracts.candidates import Candidates
from contracts.requests import ReadRequest
from contracts.stages import Stage
from retrieval.attribute_cache import AttributeCache
from retrieval.epoch import Epoch, read_epoch
from retrieval.feature_cache import FeatureCache
from retrieval.fusion import Fused
from retrieval.live_catalogue import LiveCatalogue
from retrieval.product_features import ProductFeatures, still_shown
from retrieval.product_view import product_view
from retrieval.reads import cache_down
from retrieval.remembered import Remembered, remembered
from storage.cache import Cache
from storage.database import Database, ReadSource
from storage.errors import CacheUnavailable, DatabaseUnavailable

Value = TypeVar("Value")

# Most seconds for one product from one server, so that a frozen one is passed by.
ONE_PRODUCT_S = 1.0


@dataclass(frozen=True, slots=True)
class Hydrated:
    """
    Candidates with their features, and what the reads said.

    Attributes:
        candidates: Those that exist and pass the request's filters.
        epoch: What of the catalogue the reads saw, at least.
        sources: The databases that answered; none where the cache knew everything.
        from_cache: Whether any feature came from the cache.
        cache: How the cache failed; None if it did not.
    """

    candidates: Candidates
    epoch: Epoch
    sources: tuple[ReadSource, ...]
    from_cache: bool
    cache: Stage | None


@dataclass(frozen=True, slots=True)
class _Values(Generic[Value]):
    """One kind of feature by product id, where it came from and how the cache failed."""

    values: dict[str, Value]
    sources: tuple[ReadSource, ...] = ()
    from_cache: bool = False
    failure: Stage | None = None


class Hydrator:
    """
    Reads what ranking and the response need of products.

    Args:
        database: Knows everything.
        cache: May know features already; None in a process that reads attributes only.
        catalogue: Knows what filters and rules need while no database answers; None in a process that holds none.
        attributes: Is told what was read of products that may be shown, to keep it.
    """

    def __init__(
        self,
        database: Database,
        cache: Cache | None = None,
        *,
        catalogue: LiveCatalogue | None = None,
        attributes: AttributeCache | None = None,
    ) -> None:
        self._database = database
        self._cache = FeatureCache(cache) if cache is not None and cache.configured else None
        self._catalogue = catalogue
        self._attributes = attributes
        self._last_epoch: Epoch | None = None

    async def candidates(
        self,
        fused: Fused,
        *,
        request: ReadRequest,
        relevance: bool,
        epoch: Epoch | None = None,
        revisions: Mapping[str, int] | None = None,
        cached: bool = True,
    ) -> Hydrated:
        """
        Return the fused products that exist and pass the request's filters, with their features.

        Args:
            fused: Products and where each retriever placed them.
            request: Its filters are applied. With a consistency token everything is read from the database.
            relevance: Whether the fused score is relevance to a query; else ``search`` is absent.
            epoch: What the retrievers saw, at least; None if that is not known yet.
            revisions: By product id, as far as the retrievers know them; only for these can the cache know features.
            cached: Whether to look in the cache.

        Raises:
            DatabaseUnavailable: what the cache does not know cannot be read.
        """
        after = request.consistency_token
        sources: tuple[ReadSource, ...] = ()
        if epoch is None:
            epoch, source = await read_epoch(self._database, after=after)
            sources = (source,)
        self._last_epoch = epoch
        cache = self._cache if cached and after is None else None
        features, popularity = await asyncio.gather(
            self._features(fused.product_ids, revisions or {}, cache=cache, after=after),
            self._popularity(fused.product_ids, epoch.popularity, cache=cache, after=after),
        )
        return Hydrated(
            candidates=_with_features(
                fused,
                {product_id: product for product_id, product in features.values.items() if product.passes(request)},
                popularity.values,
                window_end=epoch.window_end or datetime.now(UTC),
                relevance=relevance,
            ),
            epoch=epoch,
            sources=(*sources, *features.sources, *popularity.sources),
            from_cache=features.from_cache or popularity.from_cache,
            cache=features.failure or popularity.failure,
        )

    async def remembered(
        self,
        fused: Fused,
        *,
        request: ReadRequest,
        relevance: bool,
        revisions: Mapping[str, int],
        cached: bool = True,
    ) -> Remembered | None:
        """Return the fused products as `candidates` does, without a database: as they were when last known."""
        return await remembered(
            fused,
            request=request,
            relevance=relevance,
            epoch=self._last_epoch,
            revisions=revisions,
            cache=self._cache if cached else None,
            catalogue=self._catalogue,
        )

    async def products(
        self, product_ids: Sequence[str], *, request: ReadRequest
    ) -> tuple[dict[str, dict[str, Any]], ReadSource]:
        """
        Return those *product_ids* that an answer to *request* may show, as clients see them, by id; and who answered.

        They are read from a database, never from a cache, so that what they say is true now.

        Raises:
            DatabaseUnavailable: neither a read replica nor the primary answers.
        """
        rows = await self._database.fetch("products_by_id", list(product_ids), after=request.consistency_token)
        shown = still_shown(rows.records, request)
        if self._attributes is not None:
            self._attributes.note(shown)
        return {row["id"]: product_view(row) for row in shown}, rows.source

    async def product_as_written(self, product_id: str) -> dict[str, Any] | None:
        """
        Return one product as last written, or None: from the primary, or from a read replica while that is down.

        Raises:
            DatabaseUnavailable: no database answers.
        """
        try:
            records = await self._database.fetch_primary("products_by_id", [product_id], timeout_s=ONE_PRODUCT_S)
        except DatabaseUnavailable:
            rows = await self._database.fetch("products_by_id", [product_id], timeout_s=ONE_PRODUCT_S)
            records = rows.records
        return product_view(records[0]) if records else None

    async def _features(
        self, product_ids: Sequence[str], revisions: Mapping[str, int], *, cache: FeatureCache | None, after: str | None
    ) -> _Values[ProductFeatures]:
        found, failure = await _looked_up(cache.features(revisions) if cache else None)
        missing = [product_id for product_id in product_ids if product_id not in found]
        if not missing:
            return _Values(found, from_cache=bool(found), failure=failure)
        rows = await self._database.fetch("product_features", missing, after=after)
        if cache and not failure:
            await cache.keep_features(rows.records)
        read = {row["product_id"]: ProductFeatures.of(row) for row in rows.records}
        return _Values(found | read, (rows.source,), from_cache=bool(found), failure=failure)

    async def _popularity(
        self, product_ids: Sequence[str], version: str | None, *, cache: FeatureCache | None, after: str | None
    ) -> _Values[float]:
        if version is None:
            return _Values({})
        found, failure = await _looked_up(cache.popularity(product_ids, version) if cache else None)
        missing = [product_id for product_id in product_ids if product_id not in found]
        if not missing:
            return _Values(found, from_cache=bool(found), failure=failure)
        rows = await self._database.fetch("popularity_features", missing, after=after)
        if cache and not failure:
            await cache.keep_popularity(rows.records)
        read = {row["product_id"]: row["popularity"] for row in rows.records}
        return _Values(found | read, (rows.source,), from_cache=bool(found), failure=failure)


async def _looked_up(look: Awaitable[dict[str, Value]] | None) -> tuple[dict[str, Value], Stage | None]:
    """What the cache knows; nothing, and the stage that says why, if it does not answer."""
    started = time.perf_counter()
    try:
        return (await look if look is not None else {}), None
    except CacheUnavailable as error:
        return {}, cache_down(error, started)


def without_features(fused: Fused, *, relevance: bool) -> Candidates:
    """The candidates as retrieved, nothing being known of them: in stock and shown, without popularity or age."""
    size = len(fused.product_ids)
    return Candidates(
        product_ids=fused.product_ids,
        search=fused.scores if relevance else np.full(size, np.nan),
        popularity=np.full(size, np.nan),
        age_days=np.full(size, np.nan),
        in_stock=np.ones(size, dtype=np.bool_),
        hidden=np.zeros(size, dtype=np.bool_),
        placings=fused.placings,
    )


def _with_features(
    fused: Fused,
    products: Mapping[str, ProductFeatures],
    popularity: Mapping[str, float],
    *,
    window_end: datetime,
    relevance: bool,
) -> Candidates:
    found = np.fromiter((product_id in products for product_id in fused.product_ids), np.bool_, len(fused.product_ids))
    bare = without_features(fused, relevance=relevance).only(found)
    rows = [products[product_id] for product_id in bare.product_ids]
    return Candidates(
        product_ids=bare.product_ids,
        search=bare.search,
        popularity=np.array([popularity.get(product_id, np.nan) for product_id in bare.product_ids], dtype=np.float64),
        age_days=np.array([(window_end.date() - row.created_at.date()).days for row in rows], dtype=np.float64),
        in_stock=np.array([row.in_stock for row in rows], dtype=np.bool_),
        hidden=np.array([row.hidden for row in rows], dtype=np.bool_),
        placings=bare.placings,
        categories=[row.category for row in rows],
    )
