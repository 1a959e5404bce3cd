"""What ranking needs of products, kept by revision so that no change is ever overlooked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import asyncpg
import orjson

from retrieval.product_features import ProductFeatures
from storage.cache import Cache
from storage.shelf import Shelf

# Part of the keys: another set of fields, or another meaning of one, takes the next number.
SCHEMA = 1
FEATURES_LIFETIME_S = 3600
POPULARITY_LIFETIME_S = 300


class FeatureCache:
    """
    Features of products by id and revision, popularity by id and version.

    A revision names one state of a product for ever, so an entry is never wrong; what is out of date is not asked for.
    """

    def __init__(self, cache: Cache) -> None:
        self._features = Shelf(
            cache, "features", ttl_s=FEATURES_LIFETIME_S, encode=_encode_features, decode=decode_features
        )
        self._popularity = Shelf(
            cache, "popularity", ttl_s=POPULARITY_LIFETIME_S, encode=orjson.dumps, decode=decode_popularity
        )

    @property
    def configured(self) -> bool:
        """Whether there is a cache at all; without one nothing is found and nothing kept."""
        return self._features.configured

    async def features(self, revisions: Mapping[str, int]) -> dict[str, ProductFeatures]:
        """
        Return the features that are kept of these products at these revisions, by product id.

        Raises:
            CacheUnavailable: the cache did not answer.
        """
        keys = {features_key(product_id, revision): product_id for product_id, revision in revisions.items()}
        return {keys[key]: features for key, features in (await self._features.read(keys)).items()}

    async def keep_features(self, rows: Iterable[asyncpg.Record]) -> None:
        """Keep the features in rows of ``product_features``, each under the revision that its row names."""
        await self._features.write(
            {features_key(row["product_id"], row["revision"]): ProductFeatures.of(row) for row in rows}
        )

    async def popularity(self, product_ids: Iterable[str], version: str) -> dict[str, float]:
        """
        Return the popularity in [0, 1] that is kept of these products in *version*, by product id.

        Raises:
            CacheUnavailable: the cache did not answer.
        """
        keys = {popularity_key(product_id, version): product_id for product_id in product_ids}
        return {keys[key]: popularity for key, popularity in (await self._popularity.read(keys)).items()}

    async def keep_popularity(self, rows: Iterable[asyncpg.Record]) -> None:
        """Keep the popularity in rows of ``popularity_features``, each under the version that its row names."""
        await self._popularity.write(
            {popularity_key(row["product_id"], row["version"]): row["popularity"] for row in rows}
        )


def features_key(product_id: str, revision: int) -> str:
    """The key of a product's features at a revision."""
    return f"features:{SCHEMA}:{product_id}:{revision}"


def popularity_key(product_id: str, version: str) -> str:
    """The key of a product's popularity in a version."""
    return f"popularity:{version}:{product_id}"


def _encode_features(features: ProductFeatures) -> bytes:
    return orjson.dumps(
        [
            features.created_at.isoformat(),
            features.in_stock,
            features.hidden,
            features.category,
            None if features.price is None else str(features.price),
            features.brand,
        ]
    )


def decode_features(raw: bytes) -> ProductFeatures:
    """The features that *raw* is, or ValueError."""
    match orjson.loads(raw):
        case [str(created_at), bool(in_stock), bool(hidden), category, price, brand]:
            return ProductFeatures(
                created_at=_moment(created_at),
                in_stock=in_stock,
                hidden=hidden,
                category=_text(category),
                price=_price(price),
                brand=_text(brand),
            )
    raise ValueError("is not the features of a product")


def decode_popularity(raw: bytes) -> float:
    """The popularity that *raw* is, or ValueError."""
    popularity = orjson.loads(raw)
    if not isinstance(popularity, float) or not 0 <= popularity <= 1:
        raise ValueError("is not a popularity")
    return popularity


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("has no zone")
    return moment


def _price(text: Any) -> Decimal | None:  # noqa: ANN401 - anything may have been kept there
    try:
        price = None if text is None else Decimal(_text(text) or "")
    except InvalidOperation as error:
        raise ValueError("is not a price") from error
    if price is not None and not price.is_finite():
        raise ValueError("is not a price")
    return price


def _text(text: Any) -> str | None:  # noqa: ANN401 - anything may have been kept there
    if text is not None and not isinstance(text, str):
        raise ValueError("is not text")
    return text
