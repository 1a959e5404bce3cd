"""
Pairs of a text that is searched with and the product text it should find, split into learned and held-out ones.

The split and every sample follow from hashes of what is in a pair, so they do not depend on the order of reading, and a
product stays on its side from one night to the next.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from training.encoder_ranking import JudgedKind, JudgedQueries

PairKind = Literal["title", "click", "given"]

LONGEST_QUERY, LONGEST_DOCUMENT = 500, 2_000
"""Characters; the encoder would cut off more."""


class Pair(NamedTuple):
    """A query and the text of a product that answers it."""

    kind: PairKind
    query: str
    document: str
    product_id: str


@dataclass(frozen=True)
class SplitRule:
    """
    How pairs are split and how many are kept.

    Attributes:
        seed: Another one draws other products.
        share: Of the products, those that are held out.
        learned: Most pairs to learn from.
        judged: Most pairs of each kind to judge by.
        candidates: Most documents of each kind that the right ones have to be found among.
    """

    seed: int = 7
    share: float = 0.1
    learned: int = 200_000
    judged: int = 500
    candidates: int = 2_000

    def holds_out(self, product_id: str) -> bool:
        """Whether nothing is to be learned from this product."""
        return _number(self.seed, "product", product_id) < self.share * 2**64


@dataclass(frozen=True)
class SplitPairs:
    """
    What came of the pairs.

    Attributes:
        learned: Columns ``query``, ``document``, and ``query_number``, ``document_number``: equal texts, equal numbers.
            In random order.
        judged: What the held-out ones ask.
        counts: Pairs seen by kind, and those of each part.
    """

    learned: pa.Table
    judged: JudgedQueries
    counts: dict[str, int]

    def digest(self) -> str:
        """Says whether two splits are the same."""
        found = hashlib.sha256(self.judged.digest().encode())
        for column in ("query_number", "document_number"):
            found.update(self.learned[column].to_numpy().tobytes())
        return found.hexdigest()


def split_pairs(pairs: Iterable[Pair], rule: SplitRule) -> SplitPairs:
    """
    Split *pairs* by their products; memory holds the samples of *rule*, and two hashes of each held-out pair.

    Titles are asked for among texts of all products. Queries are asked for among held-out products alone: others that
    were clicked after the same query would be no wrong answers, and are learned.
    A pair whose query or document is, word for word, one of a held-out product's title pair is not learned.
    """
    learned, judged, candidates = _Sample(rule.learned), _Samples(rule.judged), _Samples(rule.candidates)
    held_out_texts: set[int] = set()
    seen: dict[str, int] = defaultdict(int)
    for pair in map(_trimmed, pairs):
        if not pair.query or not pair.document:
            continue
        seen[pair.kind] += 1
        is_held_out = rule.holds_out(pair.product_id)
        if is_held_out or pair.kind != "click":
            candidates.by_kind[pair.kind].add(_number(rule.seed, pair.document), pair._replace(query="", product_id=""))
        if is_held_out:
            # By the query, so that all pairs of one are in the sample or none.
            judged.by_kind[pair.kind].add(_number(rule.seed, pair.query), pair)
            if pair.kind != "click":
                held_out_texts |= {_text_number(pair.query), _text_number(pair.document)}
        else:
            learned.add(_number(rule.seed, pair.kind, pair.query, pair.product_id), pair)
    table = _as_table([pair for pair in learned.pairs() if not _texts_of(pair) & held_out_texts])
    kinds = {
        kind: _judged_kind(sample.whole_groups(), candidates.by_kind[kind].pairs())
        for kind, sample in sorted(judged.by_kind.items())
    }
    queries = JudgedQueries({kind: asked for kind, asked in kinds.items() if asked.queries})
    counts = {f"pairs_{kind}": count for kind, count in sorted(seen.items())}
    counts |= {"learned": len(table), "judged": len(queries), "candidates": queries.document_count}
    return SplitPairs(table, queries, counts)


@dataclass
class _Sample:
    """The pairs with the lowest numbers, at most so many, each once."""

    size: int
    _heap: list[tuple[int, Pair]] = field(default_factory=list)
    _held: set[tuple[int, Pair]] = field(default_factory=set)
    _is_cut: bool = False

    def add(self, number: int, pair: Pair) -> None:
        entry = (-number, pair)
        if entry in self._held:
            return
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, entry)
            self._held.add(entry)
            return
        self._is_cut = True
        if entry > self._heap[0]:
            self._held.remove(heapq.heapreplace(self._heap, entry))
            self._held.add(entry)

    def pairs(self) -> list[Pair]:
        """By number."""
        return [pair for _, pair in sorted(self._heap, key=lambda entry: (-entry[0], entry[1]))]

    def whole_groups(self) -> list[Pair]:
        """As `pairs`, without those of the last number: others of it may have been left out."""
        if not self._is_cut:
            return self.pairs()
        last = min(number for number, _ in self._heap)
        self._heap = [entry for entry in self._heap if entry[0] != last]
        return self.pairs()


class _Samples:
    def __init__(self, size: int) -> None:
        self.by_kind: dict[str, _Sample] = defaultdict(lambda: _Sample(size))


def _judged_kind(pairs: Iterable[Pair], candidates: Iterable[Pair]) -> JudgedKind:
    rows: dict[str, int] = {}
    asked: dict[str, set[int]] = defaultdict(set)
    for pair in pairs:
        asked[pair.query].add(rows.setdefault(pair.document, len(rows)))
    for pair in candidates:
        rows.setdefault(pair.document, len(rows))
    return JudgedKind(list(asked), list(rows), [sorted(right) for right in asked.values()])


def _as_table(pairs: list[Pair]) -> pa.Table:
    queries, documents = [pair.query for pair in pairs], [pair.document for pair in pairs]
    return pa.table(
        {
            "query": pa.array(queries, pa.large_string()),
            "document": pa.array(documents, pa.large_string()),
            "query_number": np.array([_text_number(text) for text in queries], np.int64),
            "document_number": np.array([_text_number(text) for text in documents], np.int64),
        }
    )


def _texts_of(pair: Pair) -> set[int]:
    return {_text_number(pair.query), _text_number(pair.document)}


def _trimmed(pair: Pair) -> Pair:
    query, document = (" ".join(text.split()) for text in (pair.query, pair.document))
    return pair._replace(query=query[:LONGEST_QUERY], document=document[:LONGEST_DOCUMENT])


def _number(seed: int, *parts: str) -> int:
    """64 bits that look random."""
    return int.from_bytes(hashlib.blake2b("\0".join((str(seed), *parts)).encode(), digest_size=8).digest())


def _text_number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.lower().encode(), digest_size=8).digest(), signed=True)
