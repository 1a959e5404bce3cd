"""
A made-up catalogue with the word statistics of a real one, the same for the same seed.

Words follow Zipf's law (Zipf, "Human Behavior and the Principle of Least Effort", 1949): a few stand in a third of all
products, most in a handful. Every category has words of its own besides, so that words that belong together meet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

BATCH = 5_000
WORDS = 60_000
CATEGORIES = 300
CATEGORY_WORDS = 400
BRANDS = 3_000
IN_STOCK = 0.9
GENERAL = 0.5
"""Shares of the products that are in stock, and of the words of a text that do not come from its category."""

COMMON = 40
"""So many of the commonest words stand in texts of every kind and belong to no category."""

_ONSETS = re.findall(r"\w+", "b c d f g h j k l m n p r t v w z br cr dr fl gr kl pl pr sk st tr")
_VOWELS = re.findall(r"\w+", "a e i o u ai ea ou")
_ENDINGS = re.findall(r"\w+", "k l m n p r t x nd rk st lm")
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)

COLUMNS = ("id", "title", "description", "category", "brand", "price", "currency", "in_stock", "created_at")
Row = tuple[str, str, str, str, str, Decimal, str, bool, datetime]


@dataclass(frozen=True)
class SyntheticCatalogue:
    """
    *size* products.

    Args:
        size: How many.
        seed: Equal seeds give equal products; a larger catalogue begins with the smaller one's.
    """

    size: int
    seed: int = 1

    def batches(self) -> Iterator[list[Row]]:
        """Yield the products in batches, columns as in `COLUMNS`."""
        for first in range(0, self.size, BATCH):
            yield self._batch(first, min(first + BATCH, self.size))

    def popularity(self) -> Iterator[tuple[str, float, float]]:
        """Yield id, popularity in (0, 1] and count of the two products in three that anybody cared for."""
        order = np.random.default_rng([self.seed, 1]).permutation(self.size)
        counts = 1_000_000 / np.arange(1, self.size * 2 // 3 + 1)
        levels = np.log1p(counts) / np.log1p(counts[0])
        for row, level, count in zip(order, levels, counts, strict=False):
            yield _product_id(row), float(level), float(count)

    @cached_property
    def words(self) -> list[str]:
        """Every word, the commonest first."""
        rng = np.random.default_rng([self.seed, 2])
        words: dict[str, None] = {}
        while len(words) < WORDS:
            syllables = rng.integers(1, 4)
            parts = [rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(syllables)]
            words["".join(parts) + rng.choice(_ENDINGS)] = None
        return list(words)

    @cached_property
    def categories(self) -> list[str]:
        """Every category, the largest first."""
        return [f"{self.words[COMMON + 2 * n]} {self.words[COMMON + 2 * n + 1]}".title() for n in range(CATEGORIES)]

    @cached_property
    def _own_words(self) -> NDArray[np.int64]:
        """Words of each category, shape (CATEGORIES, CATEGORY_WORDS)."""
        rng = np.random.default_rng([self.seed, 3])
        return rng.integers(COMMON, WORDS // 3, size=(CATEGORIES, CATEGORY_WORDS))

    def _batch(self, first: int, end: int) -> list[Row]:
        rng = np.random.default_rng([self.seed, 4, first])
        count = end - first
        category = _zipf(rng, CATEGORIES, count)
        brand = _zipf(rng, BRANDS, count)
        price = np.round(np.exp(rng.normal(3.2, 1.1, count)), 2)
        in_stock = rng.random(count) < IN_STOCK
        age_days = rng.integers(0, 2000, count)
        titles = self._texts(rng, category, rng.integers(2, 7, count))
        descriptions = self._texts(rng, category, rng.integers(12, 50, count))
        return [
            (
                _product_id(first + row),
                titles[row].title(),
                descriptions[row].capitalize() + ".",
                self.categories[category[row]],
                self.words[-1 - brand[row]].title(),
                Decimal(str(price[row])),
                "EUR",
                bool(in_stock[row]),
                _EPOCH + timedelta(days=int(age_days[row])),
            )
            for row in range(count)
        ]

    def _texts(self, rng: np.random.Generator, category: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[str]:
        """Texts of *lengths* words, about half of them from the words of *category*; both of shape (n,)."""
        total = int(lengths.sum())
        of_all = _zipf(rng, WORDS, total)
        of_category = self._own_words[np.repeat(category, lengths), _zipf(rng, CATEGORY_WORDS, total)]
        chosen = np.where(rng.random(total) < GENERAL, of_all, of_category).tolist()
        ends = np.cumsum(lengths).tolist()
        words = self.words
        return [
            " ".join([words[number] for number in chosen[end - length : end]])
            for end, length in zip(ends, lengths.tolist(), strict=True)
        ]


def _zipf(rng: np.random.Generator, kinds: int, count: int) -> NDArray[np.int64]:
    """Draw *count* numbers below *kinds*, number n with a probability in proportion to 1 / (n + 2.7)."""
    cumulative = np.cumsum(1 / (np.arange(kinds) + 2.7))
    drawn: NDArray[np.int64] = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
    return drawn


def _product_id(number: int) -> str:
    return f"p{number:07}"
