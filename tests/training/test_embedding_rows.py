from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.conftest import Fetch
from training.embedding_rows import write_embeddings
from training.queries import QUERIES

VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)
PRODUCTS = ["p1", "p2", "p3"]
DIGESTS = [bytes([number] * 16) for number in range(3)]


def stored(fetch: Fetch, encoder: str = "e1") -> dict[object, list[float]]:
    rows = fetch("select product_id, embedding from product_embeddings where encoder_version = $1", encoder)
    return {product: np.frombuffer(bytes(vector), "<f4").tolist() for product, vector in rows}  # type: ignore[call-overload]


def write(
    database_url: str,
    encoder: str,
    product_ids: list[str],
    updated_at: list[int],
    vectors: NDArray[np.float32] = VECTORS,
) -> int:
    return asyncio.run(
        write_embeddings(
            database_url,
            encoder,
            product_ids,
            updated_at=updated_at,
            text_digests=DIGESTS[: len(vectors)],
            vectors=vectors,
        )
    )


@pytest.fixture
def updated_at(fetch: Fetch, products: list[str]) -> list[int]:
    """When the products were last changed, as the job reads it."""
    rows = fetch(QUERIES["products_to_embed"], "e1", "", None, None)
    assert [row[0] for row in rows] == products
    return [row[-1] for row in rows]  # type: ignore[misc]


class TestWriteEmbeddings:
    def test_vectors_come_back_as_they_were(self, database_url: str, updated_at: list[int], fetch: Fetch) -> None:
        written = write(database_url, "e1", PRODUCTS, updated_at)
        assert (written, stored(fetch)) == (3, {"p1": [0.0, 1.0], "p2": [2.0, 3.0], "p3": [4.0, 5.0]})

    def test_writing_them_again_changes_nothing(self, database_url: str, updated_at: list[int]) -> None:
        for expected in (3, 0):
            assert write(database_url, "e1", PRODUCTS, updated_at) == expected

    def test_the_digest_of_the_text_stands_beside_the_vector(
        self, database_url: str, updated_at: list[int], fetch: Fetch
    ) -> None:
        fetch(
            "insert into product_embeddings (product_id, encoder_version, embedding) values ('p1', 'e1', $1)", b"0000"
        )
        write(database_url, "e1", PRODUCTS, updated_at)
        rows = fetch("select text_digest from product_embeddings order by product_id")
        assert [row[0] for row in rows] == DIGESTS

    def test_they_are_no_change_to_those_who_follow_the_feed(
        self, database_url: str, updated_at: list[int], fetch: Fetch
    ) -> None:
        """The run's index holds them: replicas that read each of them again would do a catalogue's work for nothing."""
        write(database_url, "e1", PRODUCTS, updated_at)
        assert fetch("select distinct operation from product_changes") == [("upsert",)]

    def test_another_encoder_has_rows_of_its_own(self, database_url: str, updated_at: list[int], fetch: Fetch) -> None:
        write(database_url, "e1", PRODUCTS, updated_at)
        write(database_url, "e2", PRODUCTS[:1], updated_at[:1], VECTORS[:1] + 1)
        assert (stored(fetch)["p1"], stored(fetch, "e2")) == ([0.0, 1.0], {"p1": [1.0, 2.0]})

    def test_a_product_changed_since_keeps_what_ingestion_wrote(
        self, database_url: str, updated_at: list[int], fetch: Fetch
    ) -> None:
        fetch("update products set title = 'newer' where id = 'p2'")
        write(database_url, "e1", PRODUCTS, updated_at)
        assert sorted(map(str, stored(fetch))) == ["p1", "p3"]

    def test_a_deleted_product_is_left_out(self, database_url: str, updated_at: list[int], fetch: Fetch) -> None:
        fetch("delete from products where id = 'p1'")
        assert write(database_url, "e1", PRODUCTS, updated_at) == 2
