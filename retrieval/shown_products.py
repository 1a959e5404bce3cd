"""The attributes of an answer's hits: as they are now, or as they were shown last while no database answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from contracts.deadline import Deadline, time_limit
from contracts.requests import ReadRequest
from contracts.stages import Stage
from retrieval.attribute_cache import AttributeCache, KeptProduct
from retrieval.hydration import Hydrator
from retrieval.product_features import may_be_shown
from retrieval.reads import read_stage
from retrieval.stage_run import run_stage
from storage.database import ReadSource
from storage.errors import CacheUnavailable

CACHED = "cached attributes"

# What the database may take of the time given, so that something is left for the cache.
DATABASE_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class ShownProducts:
    """
    What may be shown of some products.

    Attributes:
        products: By id, as clients see them; of some there may be nothing, though they may be shown.
        withheld: Those that may not be shown.
        source: Who answered; None for the cache.
    """

    products: Mapping[str, Mapping[str, Any]]
    withheld: frozenset[str]
    source: ReadSource | None


async def shown_products(
    hydrator: Hydrator,
    attributes: AttributeCache | None,
    product_ids: Sequence[str],
    *,
    request: ReadRequest,
    deadline: Deadline,
) -> tuple[ShownProducts | None, Stage]:
    """
    Return what an answer to *request* may show of *product_ids*, and the stage; None where nothing can be read.

    From the cache a product that does not pass the request's filters is withheld, as from the database; one that the
    cache does not know is shown without attributes.
    """
    read, stage = await run_stage(
        "hydrate",
        hydrator.products(product_ids, request=request),
        timeout_s=deadline.left_s(DATABASE_SHARE if attributes is not None else 1.0),
    )
    if read is not None:
        products, source = read
        withheld = frozenset(product_ids) - products.keys()
        return ShownProducts(products, withheld, source), read_stage(stage, [source])
    kept = {} if attributes is None else await _kept(attributes, product_ids, deadline)
    if not kept:
        return None, stage
    views = {product_id: each.view for product_id, each in kept.items() if may_be_shown(each.features, request)}
    stage = replace(stage, status="fallback", source="redis", fallback=CACHED)
    return ShownProducts(views, frozenset(kept) - views.keys(), None), stage


async def _kept(attributes: AttributeCache, product_ids: Sequence[str], deadline: Deadline) -> dict[str, KeptProduct]:
    try:
        async with time_limit(deadline.left_s()):
            return await attributes.read(product_ids)
    except (CacheUnavailable, TimeoutError):
        return {}
