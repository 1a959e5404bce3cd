from __future__ import annotations

import asyncio

import pytest

from artifacts.product_text import product_text
from storage.settings import StorageSettings
from tests.training.conftest import Fetch
from training.embedding_texts import CatalogueLook, IdRange, ProductText, look_at_catalogue, read_products
from training.errors import NothingToTrainOn
from training.reading import reading


def look(database_url: str, *, sample: int = 10, products_a_range: int = 1000) -> CatalogueLook:
    settings = StorageSettings(database_url)
    return asyncio.run(look_at_catalogue(settings, sample=sample, products_a_range=products_a_range))


def read(database_url: str, encoder: str, within: IdRange | None = None) -> list[ProductText]:
    async def rows() -> list[ProductText]:
        async with reading(StorageSettings(database_url)) as connection:
            return await read_products(connection, encoder, within)

    return asyncio.run(rows())


@pytest.fixture
def twenty(fetch: Fetch) -> list[str]:
    """Products p01 to p20."""
    fetch(
        "insert into products (id, title) select 'p' || to_char(n, 'FM00'), 'tea ' || n from generate_series(1, 20) n"
    )
    return [f"p{number:02}" for number in range(1, 21)]


class TestLookAtCatalogue:
    def test_ranges_hold_every_product_once(self, database_url: str, twenty: list[str]) -> None:
        ranges = look(database_url, products_a_range=7).ranges
        assert len(ranges) == 3
        assert [one.product_id for within in ranges for one in read(database_url, "e", within)] == twenty

    def test_they_hold_products_that_come_later_too(self, database_url: str, twenty: list[str], fetch: Fetch) -> None:
        ranges = look(database_url, products_a_range=7).ranges
        fetch("insert into products (id, title) values ('a', 'first'), ('p07x', 'between'), ('z', 'last')")
        found = [one.product_id for within in ranges for one in read(database_url, "e", within)]
        assert found == sorted([*twenty, "a", "p07x", "z"])

    @pytest.mark.parametrize("products_a_range", [3, 1000])
    def test_the_sample_is_spread_over_all(self, database_url: str, twenty: list[str], products_a_range: int) -> None:
        sampled = [one.product_id for one in look(database_url, sample=4, products_a_range=products_a_range).sample]
        assert len(sampled) == 4
        assert sampled[0] == twenty[0]
        assert sampled[-1] >= twenty[14]

    def test_no_products_are_nothing_to_train_on(self, database_url: str) -> None:
        with pytest.raises(NothingToTrainOn):
            look(database_url)


class TestReadProducts:
    def test_the_text_is_that_of_ingestion(self, database_url: str, fetch: Fetch) -> None:
        fetch(
            "insert into products (id, title, description, category, brand, attributes)"
            """ values ('p1', 'Tea', 'a, "good" one', 'Drinks', 'Kin', '{"weight": 2.5, "kinds": ["a", "b"]}')"""
        )
        (product,) = read(database_url, "e")
        expected = {"description": 'a, "good" one', "category": "Drinks", "brand": "Kin"}
        attributes = {"weight": 2.5, "kinds": ["a", "b"]}
        assert product.text == product_text("Tea", **expected, attributes=attributes)
        assert product.untitled == product_text("", **expected, attributes=attributes)

    def test_a_vector_counts_only_for_the_text_and_the_encoder_it_was_made_with(
        self, database_url: str, products: list[str], fetch: Fetch
    ) -> None:
        first = read(database_url, "e")[0].digest
        for product, digest in zip(products, (first, first, None), strict=True):
            fetch("insert into product_embeddings values ($1, 'e', '\\x00000000', $2)", product, digest)
        assert [product.is_embedded for product in read(database_url, "e")] == [True, False, False]
        assert not any(product.is_embedded for product in read(database_url, "other"))
