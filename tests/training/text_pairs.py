"""Products whose titles and descriptions are in two languages that only these products relate, word by word."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

WORDS = 40
_SYLLABLES = ["ba", "ke", "di", "mo", "lu", "ra", "ne", "si", "to", "vu"]


def two_languages(path: Path, products: int = 600, *, related: bool = True, seed: int = 3) -> str:
    """
    Write the pairs of *products* as the parquet that the job reads; return its path.

    Args:
        related: Whether a description holds the words of its title; else any words.
    """
    generator = np.random.default_rng(seed)
    words = ["".join(generator.choice(_SYLLABLES, 3)) for _ in range(2 * WORDS)]
    titles = [generator.choice(WORDS, 4, replace=False) for _ in range(products)]
    descriptions = titles if related else [generator.choice(WORDS, 4, replace=False) for _ in range(products)]
    table = {
        "query": [" ".join(words[word] for word in title) for title in titles],
        "document": [" ".join(words[WORDS + word] for word in sorted(each)) for each in descriptions],
        "product_id": [f"p{number:05}" for number in range(products)],
    }
    pq.write_table(pa.table(table), path)
    return str(path)
