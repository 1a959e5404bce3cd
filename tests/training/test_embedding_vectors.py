from __future__ import annotations

import asyncio

import numpy as np
import pytest

from storage.errors import DatabaseUnavailable
from storage.settings import StorageSettings
from tests.artifacts.vectors import unit_rows
from tests.servers import Servers
from tests.training.conftest import Fetch
from training.embedding_vectors import StoredDigest, StoredVectors, log_position, stored_digest, stored_vectors
from training.errors import NothingToTrainOn

VECTORS = unit_rows(1, 3, 8)
DIGEST = b"0" * 16


@pytest.fixture
def stored(fetch: Fetch, products: list[str]) -> list[str]:
    """A vector of encoder e for each product."""
    for product, vector in zip(products, VECTORS, strict=True):
        fetch("insert into product_embeddings values ($1, 'e', $2, $3)", product, vector.tobytes(), DIGEST)
    return products


def read(database_url: str, encoder: str = "e") -> StoredVectors:
    settings, after = StorageSettings(database_url), asyncio.run(log_position(database_url))
    return asyncio.run(stored_vectors(settings, encoder, 8, after=after))


def digest(database_url: str) -> StoredDigest:
    settings, after = StorageSettings(database_url), asyncio.run(log_position(database_url))
    return asyncio.run(stored_digest(settings, "e", after=after))


class TestStoredVectors:
    @pytest.mark.parametrize("page", [1, 2, 100])
    def test_they_come_by_product_whatever_the_pages(
        self, database_url: str, stored: list[str], page: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("training.embedding_vectors._PAGE", page)
        found = read(database_url)
        assert found.product_ids.to_pylist() == stored
        np.testing.assert_array_equal(found.vectors, VECTORS)

    def test_those_of_another_encoder_stay_out(self, database_url: str, stored: list[str], fetch: Fetch) -> None:
        fetch("insert into product_embeddings values ($1, 'other', $2)", stored[0], VECTORS[2].tobytes())
        assert len(read(database_url).vectors) == 3

    @pytest.mark.parametrize(
        "content",
        [
            unit_rows(1, 1, 4).tobytes(),
            (2 * VECTORS[0]).tobytes(),
            np.full(8, np.nan, np.float32).tobytes(),
            np.full(8, 3e38, np.float32).tobytes(),
        ],
    )
    def test_a_damaged_one_is_left_out(
        self, database_url: str, stored: list[str], content: bytes, fetch: Fetch
    ) -> None:
        fetch("update product_embeddings set embedding = $2 where product_id = $1", stored[1], content)
        found = read(database_url)
        assert (found.product_ids.to_pylist(), found.refused) == (["p1", "p3"], 1)
        np.testing.assert_array_equal(found.vectors, VECTORS[[0, 2]])

    def test_none_at_all_is_nothing_to_train_on(self, database_url: str, stored: list[str]) -> None:
        assert len(stored) == 3
        with pytest.raises(NothingToTrainOn, match="nobody"):
            read(database_url, "nobody")


class TestStoredDigest:
    def test_it_is_that_of_the_vectors(self, database_url: str, stored: list[str]) -> None:
        assert digest(database_url) == StoredDigest(len(stored), read(database_url).digest)

    @pytest.mark.parametrize(
        "statement",
        [
            "delete from products where id = $1",
            "update product_embeddings set text_digest = decode(repeat('00', 16), 'hex') where product_id = $1",
            "update product_embeddings set text_digest = null where product_id = $1",
        ],
    )
    def test_it_changes_with_products_and_their_texts(
        self, database_url: str, stored: list[str], statement: str, fetch: Fetch
    ) -> None:
        before = digest(database_url)
        fetch(statement, stored[1])
        assert digest(database_url) != before


class TestReadingPast:
    def test_a_replica_shows_what_was_written_just_before(self, servers: Servers) -> None:
        settings = StorageSettings(servers.database_url, servers.replica_urls)
        after = asyncio.run(log_position(settings.database_url))
        assert asyncio.run(stored_digest(settings, "nobody", after=after)).count == 0

    def test_where_all_stay_behind_the_primary_is_not_read_in_their_place(
        self, servers: Servers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No replica has what will be written in a million years."""
        monkeypatch.setattr("training.embedding_vectors._REACH_WITHIN_S", 0.2)
        settings = StorageSettings(servers.database_url, servers.replica_urls)
        with pytest.raises(DatabaseUnavailable, match="no read replica shows"):
            asyncio.run(stored_digest(settings, "nobody", after="FFFFFF/0"))
