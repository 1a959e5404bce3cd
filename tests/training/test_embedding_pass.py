from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from artifacts.encoder import ENCODER_FILE, TOKENIZER_FILE, OnnxEncoder
from artifacts.product_text import text_digest
from storage.settings import StorageSettings
from tests.artifacts.tiny_encoder import write_tiny_encoder
from tests.servers import Servers
from tests.training.conftest import Fetch
from training.embedding_pass import PassPlan, RangeEmbedder
from training.embedding_vectors import log_position

ENCODER = "tiny-1"
WHOLE = {"first": "", "end": None, "after": None}


class WatchedEncoder(OnnxEncoder):
    """Notes what it encodes; cannot take some texts."""

    encoded: list[str]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if any("broken" in text for text in texts):
            raise ValueError("broken")
        self.encoded += texts
        return super().encode(texts)


@pytest.fixture
def encoder(tmp_path: Path) -> WatchedEncoder:
    write_tiny_encoder(tmp_path)
    made = WatchedEncoder(tmp_path)
    made.encoded = []
    return made


@pytest.fixture
def embed(database_url: str, encoder: WatchedEncoder, tmp_path: Path) -> RangeEmbedder:
    files = {name: (tmp_path / name).read_bytes() for name in (ENCODER_FILE, TOKENIZER_FILE)}
    made = RangeEmbedder(PassPlan(StorageSettings(database_url), ENCODER, workers=1, threads=1), files)
    made._encoder = encoder
    return made


def counts(row: dict[str, Any]) -> tuple[int, int, int, int]:
    return row["looked_at"], row["encoded"], row["unreadable"], row["left_out"]


class TestRangeEmbedder:
    def test_products_without_a_vector_get_that_of_their_text(
        self, embed: RangeEmbedder, products: list[str], encoder: WatchedEncoder, fetch: Fetch
    ) -> None:
        assert counts(embed(WHOLE)) == (3, 3, 0, 0)
        rows = fetch("select product_id, embedding, text_digest from product_embeddings order by product_id")
        assert [row[0] for row in rows] == products
        assert [row[1] for row in rows] == [encoder.encode([text])[0].tobytes() for text in ("one", "two", "three")]
        assert rows[0][2] == text_digest("one")

    def test_a_second_pass_encodes_nothing(
        self, embed: RangeEmbedder, products: list[str], encoder: WatchedEncoder
    ) -> None:
        embed(WHOLE)
        assert counts(embed(WHOLE)) == (len(products), 0, 0, 0)
        assert len(encoder.encoded) == len(products)

    def test_only_a_text_that_changed_is_encoded_again(
        self, embed: RangeEmbedder, products: list[str], encoder: WatchedEncoder, fetch: Fetch
    ) -> None:
        embed(WHOLE)
        encoder.encoded.clear()
        fetch("update products set price = 3 where id = $1", products[0])
        fetch("update products set title = 'red wine' where id = $1", products[1])
        assert counts(embed(WHOLE)) == (3, 1, 0, 0)
        assert encoder.encoded == ["red wine"]

    def test_another_encoder_encodes_all(self, embed: RangeEmbedder, products: list[str], database_url: str) -> None:
        embed(WHOLE)
        embed._plan = PassPlan(StorageSettings(database_url), "tiny-2", workers=1, threads=1)
        assert counts(embed(WHOLE)) == (len(products), len(products), 0, 0)

    def test_a_vector_of_an_unknown_text_is_made_anew(
        self, embed: RangeEmbedder, products: list[str], fetch: Fetch
    ) -> None:
        embed(WHOLE)
        fetch("update product_embeddings set text_digest = null where product_id = $1", products[2])
        assert counts(embed(WHOLE)) == (3, 1, 0, 0)

    def test_a_range_ends_before_its_end(self, embed: RangeEmbedder, products: list[str], fetch: Fetch) -> None:
        assert counts(embed(WHOLE | {"first": products[1], "end": products[2]})) == (1, 1, 0, 0)
        assert fetch("select product_id from product_embeddings") == [("p2",)]

    def test_a_text_that_cannot_be_encoded_holds_up_no_other(
        self, embed: RangeEmbedder, products: list[str], fetch: Fetch
    ) -> None:
        fetch("update products set title = 'broken' where id = $1", products[1])
        assert counts(embed(WHOLE)) == (3, 2, 1, 0)
        assert fetch("select product_id from product_embeddings order by 1") == [("p1",), ("p3",)]

    def test_what_was_encoded_before_an_error_stays(
        self, embed: RangeEmbedder, products: list[str], encoder: WatchedEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A worker that dies has stored what it had encoded; the next one goes on from there."""
        monkeypatch.setattr("training.embedding_pass.WRITTEN_AT_ONCE", 1)
        before = encoder.encode_what_can_be

        def die_at_the_second(texts: Sequence[str]) -> NDArray[np.float32]:
            if encoder.encoded:
                raise SystemExit
            return before(texts)

        monkeypatch.setattr(encoder, "encode_what_can_be", die_at_the_second)
        with pytest.raises(SystemExit):
            embed(WHOLE)
        monkeypatch.setattr(encoder, "encode_what_can_be", before)
        assert counts(embed(WHOLE)) == (len(products), len(products) - 1, 0, 0)

    def test_a_product_that_changes_meanwhile_is_left_out(
        self,
        embed: RangeEmbedder,
        products: list[str],
        encoder: WatchedEncoder,
        monkeypatch: pytest.MonkeyPatch,
        fetch: Fetch,
    ) -> None:
        before = encoder.encode_what_can_be
        statement = "update products set title = 'newer' where id = $1"

        def encode_while_it_changes(texts: Sequence[str]) -> NDArray[np.float32]:
            in_a_thread(fetch, statement, products[0])
            return before(texts)

        monkeypatch.setattr(encoder, "encode_what_can_be", encode_while_it_changes)
        assert counts(embed(WHOLE)) == (3, 2, 0, 1)

    def test_it_is_looked_at_again_on_a_replica_that_shows_the_change(
        self, embed: RangeEmbedder, products: list[str], servers: Servers, database_url: str, fetch: Fetch
    ) -> None:
        embed(WHOLE)
        settings = StorageSettings(database_url, (servers.replica_url_of(database_url),))
        embed._plan = PassPlan(settings, ENCODER, workers=1, threads=1)
        fetch("update products set title = 'newer' where id = $1", products[0])
        assert counts(embed(WHOLE | {"after": asyncio.run(log_position(database_url))})) == (3, 1, 0, 0)


def in_a_thread(fetch: Fetch, statement: str, argument: str) -> None:
    """*fetch* runs a loop of its own, which one that runs already forbids."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(fetch, statement, argument).result()
