"""Which kind of index a catalogue of a given size gets."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# Up to here the exact search of one thread takes about as long as the encoding of a query, or a few times that.
EXACT_UP_TO = 30_000
AUTOMATIC, EXACT = "auto", "Flat"
_TRAINED_PER_LIST = 64
_SCALARS_TRAINED_ON = 100_000
_LISTS = re.compile(r"IVF(\d+)")
_LEAST_VISITED = 16
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)


@dataclass(frozen=True)
class IndexPlan:
    """
    How to build an index, and what may be tuned of it.

    Attributes:
        kind: As ``faiss.index_factory`` names it.
        trained_on: How many vectors it is trained on at most; 0 where it needs no training.
        parameter: The search parameter that trades recall for time, None where there is none.
        steps: Its values to try, in order.
    """

    kind: str
    trained_on: int
    parameter: str | None
    steps: tuple[int, ...]


def index_plan(count: int, kind: str = AUTOMATIC) -> IndexPlan:
    """
    Return how to index *count* vectors: exactly while that is quick, else by inverted lists of 8-bit vectors.

    Args:
        count: How many, at least 1.
        kind: ``auto``, or a kind of FAISS index.
    """
    chosen = kind_for(count) if kind == AUTOMATIC else kind
    lists = _LISTS.match(chosen)
    if lists:
        most = int(lists[1])
        steps = (*(step for step in _STEPS if step < most), most)
        return IndexPlan(chosen, min(count, _TRAINED_PER_LIST * most), "nprobe", steps)
    if chosen.startswith("HNSW"):
        steps = tuple(step for step in _STEPS if step >= _LEAST_VISITED)
        return IndexPlan(chosen, min(count, _SCALARS_TRAINED_ON), "efSearch", steps)
    return IndexPlan(chosen, 0 if chosen == EXACT else min(count, _SCALARS_TRAINED_ON), None, ())


def kind_for(count: int) -> str:
    """Return the kind for *count* vectors: ``Flat``, or about 2 √count inverted lists, a power of two."""
    if count <= EXACT_UP_TO:
        return EXACT
    return f"IVF{2 ** round(math.log2(2 * math.sqrt(count)))},SQ8"
