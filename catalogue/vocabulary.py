"""
What search by words stands on besides the products: the words there are, and the text of the most popular products.

Both follow the catalogue at some distance: a product is found as soon as it is written, and weighed like its neighbours
after the next refresh.
"""

from __future__ import annotations

from dataclasses import dataclass

from storage.connection import Connection
from storage.named_queries import QUERIES

HEAD = 100_000
FIRST_TIER = 5_000
"""Sizes of the head that `refresh_keyword_head` keeps, and of the first of its two tiers."""

SMALL = 10_000
"""A catalogue of so many products is counted whole each time; that takes less than a second."""

RECOUNT_SHARE = 0.1
"""A larger one is counted whole when this share of it has changed, and only given its new words before that."""

MOVES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class VocabularyRefresh:
    """What a refresh of the vocabulary found to do: how many words came, went or were counted anew; all or new ones."""

    changed_words: int
    recounted: bool


async def refresh_vocabulary(connection: Connection) -> VocabularyRefresh:
    """
    Bring the vocabulary up to the newest change of the catalogue, in one transaction.

    Cheap when nothing changed. Writers are not held up, nor does it wait for them: what they have not committed is
    taken in the next time.

    Args:
        connection: To the primary.

    Raises:
        asyncpg.PostgresError: nothing is changed.
    """
    async with connection.transaction():
        await connection.execute(QUERIES["lock_vocabulary"])
        state = await connection.fetchrow(QUERIES["vocabulary_state"])
        assert state is not None
        place, changed = (state["transaction"], state["position"]), state["changed"]
        if not changed and not state["lost"]:
            return VocabularyRefresh(0, recounted=False)
        if state["lost"] or max(SMALL, (state["uncounted"] + changed) / RECOUNT_SHARE) >= state["documents"]:
            words = _rows(await connection.execute(QUERIES["count_vocabulary"]))
            await connection.execute(QUERIES["vocabulary_counted"], *place, words > 0)
            if words:
                await connection.execute("analyze vocabulary")
            return VocabularyRefresh(words, recounted=True)
        words = _rows(await connection.execute(QUERIES["add_to_vocabulary"]))
        await connection.execute(QUERIES["vocabulary_extended"], *place, changed, words > 0)
        return VocabularyRefresh(words, recounted=False)


async def refresh_keyword_head(connection: Connection, *, head: int = HEAD, first_tier: int = FIRST_TIER) -> int:
    """
    Make the *head* most popular products the popular tiers of keyword search, and return how many products moved.

    Cheap when neither the popularity nor a product changed. Moves a few hundred products a transaction and passes by
    those that a writer holds: they are moved the next time.

    Args:
        connection: To the primary, outside a transaction.
        head: Products in both tiers.
        first_tier: Products in the first.

    Raises:
        asyncpg.PostgresError: what was moved before stays moved; the next refresh goes on.
    """
    await connection.execute(QUERIES["lock_keyword_head"])
    try:
        state = await connection.fetchrow(QUERIES["keyword_head_state"])
        changes = await connection.fetchrow(QUERIES["catalogue_position"])
        assert state is not None
        assert changes is not None
        made_from = (state["popularity"], changes["seen"])
        if (state["head_popularity"], state["head_changes"]) == made_from:
            return 0
        moves = await connection.fetch(QUERIES["keyword_head_moves"], head, first_tier)
        moved = 0
        for first in range(0, len(moves), MOVES_AT_ONCE):
            batch = moves[first : first + MOVES_AT_ONCE]
            async with connection.transaction():
                columns = [[row[name] for row in batch] for name in ("product_id", "tier", "popularity")]
                moved += len(await connection.fetch(QUERIES["move_in_keyword_head"], *columns))
                await connection.execute(QUERIES["keyword_head_moved"], None, None, True)  # noqa: FBT003
        if moved == len(moves):
            await connection.execute(QUERIES["keyword_head_moved"], *made_from, False)  # noqa: FBT003
        if moved > head / 10:
            await connection.execute("analyze keyword_head")
        return moved
    finally:
        await connection.execute(QUERIES["unlock_keyword_head"])


def _rows(status: str) -> int:
    """The number of rows in the status of a statement, as in ``MERGE 12``."""
    return int(status.rpartition(" ")[2])
