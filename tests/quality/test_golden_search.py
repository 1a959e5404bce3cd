"""Figures of search, held against those in golden.yaml."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml

from bench.keyword import asking, reciprocal_rank
from bench.synthetic import COLUMNS, SyntheticCatalogue
from catalogue.vocabulary import refresh_keyword_head, refresh_vocabulary
from evaluation.search import OURS, compare, filled
from evaluation.search_data import SEARCH_SETS
from storage.connection import Connection
from tests.shared_data import SHARED_DATA, needs_shared_data

GOLDEN: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "golden.yaml").read_text(encoding="utf-8"))["search"]
PRODUCTS = 5_000
SOUGHT = 200


@pytest.fixture
async def made_up(database_url: str) -> AsyncIterator[Connection]:
    """A connection to a made-up catalogue that the vocabulary and the head know."""
    connection = await asyncpg.connect(database_url)
    for batch in SyntheticCatalogue(PRODUCTS).batches():
        await connection.copy_records_to_table("products", records=batch, columns=COLUMNS)
    await refresh_vocabulary(connection)
    await refresh_keyword_head(connection)
    yield connection
    await connection.close()


class TestMadeUpShop:
    async def test_products_are_found_by_two_words_of_their_titles_as_they_were(self, made_up: Connection) -> None:
        expected = GOLDEN["made-up shop"]
        rows = await made_up.fetch(
            "select id, title from products where title like '% %' order by md5(id) limit $1", SOUGHT
        )
        chance = random.Random(11)  # noqa: S311 - not for secrets
        asked = [(row["id"], " ".join(chance.sample(row["title"].lower().split(), 2)) + " ") for row in rows]
        found = await reciprocal_rank((await asking(made_up))["tiered"], asked)
        assert found == pytest.approx(expected["mrr"], abs=expected["tolerance"])


@pytest.mark.long
@needs_shared_data
@pytest.mark.parametrize("name", [name for name in GOLDEN if name in SEARCH_SETS])
class TestDataSets:
    def test_figures_are_as_they_were(self, name: str) -> None:
        expected = GOLDEN[name]
        search_set = SEARCH_SETS[name](SHARED_DATA)
        with filled(search_set, None) as shop:
            found = compare(search_set, shop).modes[OURS]
        means = {measure: estimate.mean for measure, estimate in found.items()}
        assert means == pytest.approx(expected["by both"], abs=expected["tolerance"])
