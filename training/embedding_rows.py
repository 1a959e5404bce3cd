"""The vectors of a run in Postgres, where ingestion keeps one for each product and encoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.connection import primary
from training.queries import QUERIES

_BATCH = 5000


async def write_embeddings(
    database_url: str,
    encoder_version: str,
    product_ids: list[str],
    *,
    updated_at: list[int],
    text_digests: list[bytes],
    vectors: NDArray[np.float32],
) -> int:
    """
    Store the vectors, on the primary, by batches of a transaction each; return how many rows were new or changed.

    They make no entry in the change feed: the run's own index holds them.

    Args:
        database_url: The primary.
        encoder_version: What made the vectors.
        product_ids: Length n.
        updated_at: Length n, microseconds since 1970: a product that changed since is left out.
        text_digests: Length n, of the texts that the vectors were made from.
        vectors: float32, shape (n, dim), stored little-endian.
    """
    written = 0
    async with primary(database_url) as connection:
        for start in range(0, len(product_ids), _BATCH):
            rows = slice(start, start + _BATCH)
            content = [vector.astype("<f4").tobytes() for vector in vectors[rows]]
            records = zip(product_ids[rows], content, updated_at[rows], text_digests[rows], strict=True)
            async with connection.transaction():
                await connection.execute(QUERIES["keep_embeddings_out_of_the_feed"])
                await connection.execute(QUERIES["begin_embeddings"])
                await connection.copy_records_to_table("new_embeddings", records=records)
                outcome = await connection.execute(QUERIES["write_embeddings"], encoder_version)
                written += int(outcome.rpartition(" ")[2])
    return written
