from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.active import ActiveArtifact
from artifacts.embedding_index import INDEX_FILE, PRODUCTS_FILE, EmbeddingIndex
from artifacts.encoder import OnnxEncoder
from artifacts.factors import Factors
from artifacts.manifest import ManifestDraft
from artifacts.store import ArtifactStore
from contracts.candidates import Retrieval
from contracts.requests import ReadRequest, RecommendationRequest, SearchRequest
from retrieval.config import RetrievalConfig
from retrieval.live_catalogue import LiveCatalogue
from retrieval.recommendation import RecommendationRetrieval
from retrieval.search import SearchRetrieval
from retrieval.semantic import SemanticRetriever
from storage import feed_position
from storage.cache import Cache
from storage.connection import Connection
from storage.database import Database, Rows
from storage.settings import StorageSettings
from tests.artifacts.tiny_encoder import DIM, write_tiny_encoder
from tests.servers import Servers

REQUEST = SearchRequest(q="red wine")


async def eventually(condition: Callable[[], bool], *, within_s: float = 20.0) -> bool:
    """Whether *condition* comes true in time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


@pytest.fixture
async def catalogue(own_database: Database, embeddings: ActiveArtifact[EmbeddingIndex]) -> AsyncIterator[LiveCatalogue]:
    """Everything is read; what changes afterwards is pulled when a test says so, or every 20 ms."""
    made = LiveCatalogue(own_database, embeddings, period_s=0.02)
    await made.start(wait_s=20)
    yield made
    await made.stop()


@pytest.fixture
async def connection(own_database: Database, database_url: str) -> AsyncIterator[Connection]:
    """Writes to the same database."""
    del own_database
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def encoder(embeddings: ActiveArtifact[EmbeddingIndex]) -> OnnxEncoder:
    assert embeddings.current is not None
    return embeddings.current.value.encoder


async def embed(connection: Connection, encoder: OnnxEncoder, product_id: str, text: str) -> None:
    """As ingestion does it."""
    await connection.execute(
        "insert into product_embeddings (product_id, encoder_version, embedding) values ($1, 'tiny-1', $2)"
        " on conflict (product_id, encoder_version) do update set embedding = excluded.embedding",
        product_id,
        encoder.encode([text])[0].tobytes(),
    )


async def add(connection: Connection, encoder: OnnxEncoder, product_id: str, title: str) -> None:
    await connection.execute("insert into products (id, title) values ($1, $2)", product_id, title)
    await embed(connection, encoder, product_id, title)


def found(catalogue: LiveCatalogue, request: ReadRequest = REQUEST, *, text: str = "red wine") -> dict[str, float]:
    look = catalogue.look(request)
    assert look.loaded is not None
    assert look.embeddings is not None
    vector = look.loaded.value.encoder.encode([text])[0]
    return dict(look.embeddings.nearest(vector, 100, keep=look.keep))


async def token(database: Database) -> str:
    text = await database.consistency_token()
    assert text is not None
    return text


class TestLook:
    async def test_what_was_deleted_since_the_training_is_not_there(self, catalogue: LiveCatalogue) -> None:
        assert sorted(found(catalogue)) == ["p1", "p2", "p3", "p4", "p5"]

    async def test_a_new_product_is_found_once_it_is_embedded(
        self, catalogue: LiveCatalogue, connection: Connection, encoder: OnnxEncoder
    ) -> None:
        await add(connection, encoder, "new", "red wine")
        assert await eventually(lambda: found(catalogue).get("new") == 1.0)

    async def test_a_deleted_one_goes(self, catalogue: LiveCatalogue, connection: Connection) -> None:
        await connection.execute("delete from products where id = 'p1'")
        assert await eventually(lambda: "p1" not in found(catalogue))
        assert catalogue.status()["tombstones"] >= 1

    async def test_a_hidden_one_goes_and_comes_back(self, catalogue: LiveCatalogue, connection: Connection) -> None:
        await connection.execute("update products set hidden = true where id = 'p1'")
        assert await eventually(lambda: "p1" not in found(catalogue))
        await connection.execute("update products set hidden = false where id = 'p1'")
        assert await eventually(lambda: "p1" in found(catalogue))

    async def test_filters_follow_the_catalogue(self, catalogue: LiveCatalogue, connection: Connection) -> None:
        dear = SearchRequest(q="red wine", price_min=100)
        assert found(catalogue, dear) == {}
        await connection.execute("update products set price = 100 where id = 'p2'")
        assert await eventually(lambda: list(found(catalogue, dear)) == ["p2"])
        assert catalogue.status()["live_vectors"] == 0

    async def test_it_comes_to_stand_where_a_read_of_the_database_does(
        self, catalogue: LiveCatalogue, own_database: Database, connection: Connection, encoder: OnnxEncoder
    ) -> None:
        await add(connection, encoder, "new", "red wine")
        positions: list[tuple[str, str]] = []

        async def read() -> None:
            seen = (await own_database.fetch("catalogue_position")).records[0]["seen"]
            positions.append((seen, catalogue.look(REQUEST).position))

        for _ in range(500):
            await read()
            if positions[-1][0] == positions[-1][1]:
                break
            await asyncio.sleep(0.02)
        assert positions[-1][0] == positions[-1][1]

    async def test_revisions_are_the_products_updated_at(
        self, catalogue: LiveCatalogue, connection: Connection
    ) -> None:
        revision = await connection.fetchval(
            "select (extract(epoch from updated_at) * 1000000)::bigint from products where id = 'p1'"
        )
        assert catalogue.look(REQUEST).revisions(["p1", "unheard of"]) == {"p1": revision}

    async def test_items_of_the_model_are_narrowed_too(
        self, catalogue: LiveCatalogue, connection: Connection, factors: ActiveArtifact[Factors]
    ) -> None:
        assert factors.current is not None
        model = factors.current.value

        def kept(**filters: object) -> list[bool]:
            items = catalogue.look(RecommendationRequest.model_validate(filters), model).items_kept()
            assert items is not None
            return [bool(item) for item in items]

        assert kept(category="Films") == [False, False, True, True]
        await connection.execute("delete from products where id = 'p1'")
        await connection.execute("update products set category = 'Films' where id = 'p2'")
        assert await eventually(lambda: kept(category="Films") == [False, True, True, True])


class TestReach:
    async def test_what_the_token_covers_is_there(
        self,
        own_database: Database,
        embeddings: ActiveArtifact[EmbeddingIndex],
        connection: Connection,
        encoder: OnnxEncoder,
    ) -> None:
        catalogue = LiveCatalogue(own_database, embeddings, period_s=60)
        await catalogue.start(wait_s=20)
        await add(connection, encoder, "new", "red wine")
        assert "new" not in found(catalogue)
        tokens = [await token(own_database)] * 20
        await asyncio.gather(*(catalogue.reach(one, timeout_s=20) for one in tokens))
        assert found(catalogue)["new"] == 1.0
        await catalogue.stop()

    async def test_a_token_that_nobody_gave_out_hides_no_later_change(
        self,
        own_database: Database,
        embeddings: ActiveArtifact[EmbeddingIndex],
        connection: Connection,
        encoder: OnnxEncoder,
    ) -> None:
        catalogue = LiveCatalogue(own_database, embeddings, period_s=60)
        await catalogue.start(wait_s=20)
        await catalogue.reach("1-FFFFFFFF/FFFFFFFF", timeout_s=20)
        await add(connection, encoder, "new", "red wine")
        await catalogue.reach(await token(own_database), timeout_s=20)
        assert found(catalogue)["new"] == 1.0
        await catalogue.stop()

    async def test_a_search_with_a_token_sees_what_was_just_embedded(
        self,
        own_database: Database,
        embeddings: ActiveArtifact[EmbeddingIndex],
        connection: Connection,
        encoder: OnnxEncoder,
    ) -> None:
        catalogue = LiveCatalogue(own_database, embeddings, period_s=60)
        await catalogue.start(wait_s=20)
        search = SearchRetrieval(own_database, embeddings, RetrievalConfig(), catalogue=catalogue)
        await add(connection, encoder, "new", "red wine")
        request = SearchRequest(q="red wine", mode="semantic", consistency_token=await token(own_database))
        answer = await search.retrieve(request, timeout_s=20)
        assert "new" in answer.candidates.product_ids
        assert not any(stage.degraded for stage in answer.stages)
        await catalogue.stop()

    async def test_what_waits_for_an_open_transaction_is_not_said_to_be_there(
        self,
        own_database: Database,
        database_url: str,
        embeddings: ActiveArtifact[EmbeddingIndex],
        connection: Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(feed_position, "MOST_TRANSACTIONS_AHEAD", 1)
        catalogue = LiveCatalogue(own_database, embeddings, period_s=60)
        await catalogue.start(wait_s=20)
        search = SearchRetrieval(own_database, embeddings, RetrievalConfig(), catalogue=catalogue)
        slow = await asyncpg.connect(database_url)
        await slow.execute("begin")
        await slow.execute("update products set price = 7 where id = 'p2'")
        await connection.execute("update products set price = 7 where id = 'p1'")
        await catalogue.reach(await token(own_database), timeout_s=20)
        await connection.execute("update products set hidden = true where id = 'p1'")
        request = SearchRequest(q="red wine", mode="semantic", consistency_token=await token(own_database))
        answer = await search.retrieve(request, timeout_s=20)
        stage = next(stage for stage in answer.stages if stage.name == "semantic")
        assert (stage.status, stage.fallback) == ("fallback", "stale index")
        assert "open transaction" in str(catalogue.status()["problem"])
        await slow.execute("rollback")
        await slow.close()
        await catalogue.reach(await token(own_database), timeout_s=20)
        assert "p1" not in found(catalogue)
        assert catalogue.status()["problem"] is None
        await catalogue.stop()

    async def test_a_recommendation_with_a_token_sees_what_was_just_shown_again(
        self,
        own_database: Database,
        cache: Cache,
        embeddings: ActiveArtifact[EmbeddingIndex],
        factors: ActiveArtifact[Factors],
        connection: Connection,
    ) -> None:
        await connection.execute("update products set hidden = true where id = 'p3'")
        catalogue = LiveCatalogue(own_database, embeddings, period_s=60)
        await catalogue.start(wait_s=20)
        retrieval = RecommendationRetrieval(
            own_database, cache, RetrievalConfig(), factors=factors, catalogue=catalogue
        )
        await connection.execute("update products set hidden = false where id = 'p3'")
        request = RecommendationRequest(user_id="drinker", consistency_token=await token(own_database))
        answer = await retrieval.retrieve(request, timeout_s=20)
        placing = answer.candidates.placings["collaborative"]
        ranks = dict(zip(answer.candidates.product_ids, placing.ranks, strict=True))
        assert ranks.get("p3", 0) > 0
        await catalogue.stop()

    async def test_and_says_so_where_that_cannot_be_read(
        self,
        own_database: Database,
        cache: Cache,
        embeddings: ActiveArtifact[EmbeddingIndex],
        factors: ActiveArtifact[Factors],
    ) -> None:
        catalogue = LiveCatalogue(own_database, embeddings)
        retrieval = RecommendationRetrieval(
            own_database, cache, RetrievalConfig(), factors=factors, catalogue=catalogue
        )
        request = RecommendationRequest(user_id="drinker", consistency_token=await token(own_database))
        answer = await retrieval.retrieve(request, timeout_s=20)
        stage = next(stage for stage in answer.stages if stage.name == "collaborative")
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "stale index", "unavailable")

    async def test_where_it_cannot_be_read_the_answer_says_so(
        self, broken_database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        catalogue = LiveCatalogue(broken_database, embeddings)
        search = SearchRetrieval(broken_database, embeddings, RetrievalConfig(), catalogue=catalogue)
        request = SearchRequest(q="red wine", mode="semantic", consistency_token="1-0/1")
        answer = await search.retrieve(request, timeout_s=10)
        stage = next(stage for stage in answer.stages if stage.name == "semantic")
        assert (stage.status, stage.fallback, stage.cause) == ("fallback", "stale index", "unavailable")
        assert stage.may_change_hits


class TestVersions:
    async def test_an_index_that_stands_elsewhere_than_the_database_has_its_own_changes(
        self, own_database: Database, embeddings: ActiveArtifact[EmbeddingIndex], connection: Connection
    ) -> None:
        catalogue = LiveCatalogue(own_database, embeddings, period_s=60)
        await catalogue.start(wait_s=20)
        search = SearchRetrieval(own_database, embeddings, RetrievalConfig(), catalogue=catalogue)
        await connection.execute("update products set price = 7 where id = 'p1'")
        behind = await changes(search, mode="semantic")
        assert "~" in behind
        assert "~" not in await changes(search, mode="keyword"), "no live index was looked in"
        seen = behind.partition("~")[0]
        await catalogue.reach(await token(own_database), timeout_s=20)
        for _ in range(200):
            if "~" not in (level := await changes(search, mode="semantic")):
                break
            await catalogue.reach(await token(own_database), timeout_s=20)
        assert level.partition("+")[0] >= seen.partition("+")[0]
        assert "~" not in level
        await catalogue.stop()


async def changes(search: SearchRetrieval, **fields: object) -> str:
    request = SearchRequest.model_validate({"q": "red wine", **fields})
    answer: Retrieval = await search.retrieve(request, timeout_s=10)
    assert answer.versions.changes is not None
    return answer.versions.changes


class TestActivation:
    @pytest.fixture
    def other_index(self, store: ArtifactStore, tmp_path: Path) -> Callable[..., str]:
        def publish(titles: dict[str, str], **draft: object) -> str:
            made = tmp_path / f"index-{len(list(tmp_path.iterdir()))}"
            made.mkdir()
            write_tiny_encoder(made)
            index = faiss.IndexFlatIP(DIM)
            index.add(OnnxEncoder(made).encode(list(titles.values())))
            faiss.write_index(index, str(made / INDEX_FILE))
            pq.write_table(pa.table({"product_id": list(titles)}), made / PRODUCTS_FILE)
            manifest = store.publish(made, ManifestDraft.model_validate({"kind": "embeddings", "dim": DIM, **draft}))
            store.activate("embeddings", manifest.version)
            return manifest.version

        return publish

    async def test_another_version_takes_over_once_it_has_caught_up(
        self,
        catalogue: LiveCatalogue,
        connection: Connection,
        encoder: OnnxEncoder,
        other_index: Callable[..., str],
    ) -> None:
        await add(connection, encoder, "new", "red wine")
        assert await eventually(lambda: "new" in found(catalogue))
        version = other_index({"p1": "red wine", "p2": "blue wine"}, encoder="tiny-1")
        looks: list[dict[str, float]] = []

        def swapped() -> bool:
            looks.append(found(catalogue))
            return catalogue.loaded is not None and catalogue.loaded.version == version

        assert await eventually(swapped)
        assert all("new" in look for look in looks), "also in the first look at the other version"
        assert sorted(found(catalogue)) == ["new", "p1", "p2"]

    async def test_what_was_reached_meanwhile_is_in_the_first_look_at_the_other_version(
        self,
        own_database: Database,
        embeddings: ActiveArtifact[EmbeddingIndex],
        connection: Connection,
        encoder: OnnxEncoder,
        other_index: Callable[..., str],
    ) -> None:
        catalogue = LiveCatalogue(own_database, embeddings)
        await catalogue._round()
        version = other_index({"p1": "red wine", "p2": "blue wine"}, encoder="tiny-1")
        assert await eventually(lambda: embeddings.current is not None and embeddings.current.version == version)
        await catalogue._round()
        assert catalogue._preparing is not None
        await asyncio.wait([catalogue._preparing])
        await add(connection, encoder, "new", "red wine")
        await catalogue.reach(await token(own_database), timeout_s=20)
        swapping = asyncio.create_task(catalogue._round())
        while not swapping.done():
            assert "new" in found(catalogue)
            await asyncio.sleep(0)
        await swapping
        assert catalogue.loaded is not None
        assert catalogue.loaded.version == version

    async def test_vectors_of_its_own_encoder_are_read(
        self,
        catalogue: LiveCatalogue,
        connection: Connection,
        encoder: OnnxEncoder,
        other_index: Callable[..., str],
    ) -> None:
        await add(connection, encoder, "new", "red wine")
        assert await eventually(lambda: "new" in found(catalogue))
        version = other_index({"p1": "red wine"}, encoder="tiny-2")
        assert await eventually(lambda: catalogue.loaded is not None and catalogue.loaded.version == version)
        assert sorted(found(catalogue)) == ["p1"]

    async def test_it_starts_where_the_index_was_trained(
        self,
        own_database: Database,
        store: ArtifactStore,
        connection: Connection,
        encoder: OnnxEncoder,
        other_index: Callable[..., str],
    ) -> None:
        await add(connection, encoder, "before", "red wine")
        for _ in range(500):
            row = await connection.fetchrow("select max(position) as last from product_changes")
            position = (await own_database.fetch("catalogue_position")).records[0]["position"]
            if row is not None and position.endswith(f"-{row['last']}"):
                break
            await asyncio.sleep(0.02)
        other_index({"p1": "red wine"}, encoder="tiny-1", parameters={"changes_position": position})
        await add(connection, encoder, "after", "red wine")
        active = ActiveArtifact("embeddings", EmbeddingIndex.load, store)
        active.start()
        assert active.wait(20)
        catalogue = LiveCatalogue(own_database, active)
        await catalogue.start(wait_s=20)
        assert sorted(found(catalogue)) == ["after", "p1"], "what came before is in the index, or was left out of it"
        await catalogue.stop()
        active.stop()


class Mixed(Database):
    """Reads the attributes of products elsewhere than everything else."""

    attributes: Database

    async def fetch(
        self, query_name: str, *args: object, timeout_s: float | None = None, after: str | None = None
    ) -> Rows:
        if query_name == "product_attributes":
            return await self.attributes.fetch(query_name, *args, timeout_s=timeout_s, after=after)
        return await super().fetch(query_name, *args, timeout_s=timeout_s, after=after)


class TestServers:
    async def test_columns_of_a_server_that_lags_are_brought_up_to_date(
        self, servers: Servers, own_database: Database, database_url: str, connection: Connection
    ) -> None:
        servers.replay()
        database = Mixed(StorageSettings(database_url), application="tests")
        database.attributes = Database(StorageSettings(servers.replica_url_of(database_url)), application="tests")
        await database.start()
        await database.attributes.start()
        catalogue = LiveCatalogue(database, None)
        servers.replica.query("select pg_wal_replay_pause()")
        try:
            await connection.execute("update products set hidden = true where id = 'p1'")
            closed = "select max(transaction) < pg_snapshot_xmin(pg_current_snapshot()) from product_changes"
            for _ in range(500):
                if await connection.fetchval(closed):
                    break
                await asyncio.sleep(0.02)
            await catalogue.start(wait_s=20)
            await catalogue.reach(await token(own_database), timeout_s=20)
        finally:
            servers.replica.query("select pg_wal_replay_resume()")
        assert catalogue.status()["products"] == 4
        await catalogue.stop()
        await database.attributes.close()
        await database.close()


class TestFaults:
    async def test_with_the_database_down_the_trained_index_answers_and_filters_widen(
        self, broken_database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        catalogue = LiveCatalogue(broken_database, embeddings, period_s=0.02)
        await catalogue.start(wait_s=20)
        assert "p1" in found(catalogue)
        look = catalogue.look(SearchRequest(q="red wine", category="Films"))
        assert (look.keep, look.position) == (None, "unread")
        assert not catalogue.status()["columns_loaded"]
        assert "endpoint primary" in str(catalogue.status()["problem"])
        await catalogue.stop()

    async def test_what_could_not_be_read_at_the_start_is_read_when_the_database_is_there(
        self, embeddings: ActiveArtifact[EmbeddingIndex], own_database: Database, connection: Connection
    ) -> None:
        await connection.execute("alter table product_changes rename to elsewhere")
        catalogue = LiveCatalogue(own_database, embeddings, period_s=0.02)
        await catalogue.start(wait_s=20)
        assert not catalogue.status()["columns_loaded"]
        await connection.execute("alter table elsewhere rename to product_changes")
        assert await eventually(lambda: bool(catalogue.status()["columns_loaded"]))
        assert "deleted" not in found(catalogue)
        await catalogue.stop()

    async def test_a_pull_that_fails_is_tried_again(
        self, catalogue: LiveCatalogue, connection: Connection, encoder: OnnxEncoder
    ) -> None:
        await connection.execute("alter table heartbeat rename to elsewhere")
        await add(connection, encoder, "new", "red wine")
        assert await eventually(lambda: "heartbeat" in str(catalogue.status()["problem"]))
        await connection.execute("alter table elsewhere rename to heartbeat")
        assert await eventually(lambda: "new" in found(catalogue))

    async def test_without_an_index_there_is_nothing_to_look_in_until_there_is(
        self, own_database: Database, no_embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        catalogue = LiveCatalogue(own_database, no_embeddings)
        await catalogue.start(wait_s=20)
        look = catalogue.look(REQUEST)
        assert (look.loaded, look.embeddings) == (None, None)
        assert catalogue.status()["products"] == 5
        await catalogue.stop()

    async def test_after_a_promotion_everything_is_read_anew(
        self, own_database: Database, embeddings: ActiveArtifact[EmbeddingIndex], connection: Connection
    ) -> None:
        """The other primary gave a position out again, so that the reader would have passed its change by."""
        await connection.execute(
            "create function unmoved() returns trigger language plpgsql as 'begin return null; end'"
        )
        await connection.execute(
            "create trigger unmoved before update on heartbeat for each row "
            "when (current_setting('application_name') = 'tests') execute function unmoved()"
        )
        await connection.execute("update heartbeat set timeline = 7")
        catalogue = LiveCatalogue(own_database, embeddings, period_s=0.02)
        await catalogue.start(wait_s=20)
        async with connection.transaction():
            await connection.execute("set local session_replication_role = replica")
            await connection.execute("delete from products where id = 'p1'")
        assert "p1" in found(catalogue)
        await connection.execute("update heartbeat set timeline = 8")
        assert await eventually(lambda: "p1" not in found(catalogue))
        assert catalogue.status()["problem"] is None or await eventually(lambda: not catalogue.status()["problem"])
        await catalogue.stop()


class TestDeterminism:
    async def test_replicas_that_stand_at_the_same_change_answer_byte_for_byte_the_same(
        self,
        own_database: Database,
        database_url: str,
        embeddings: ActiveArtifact[EmbeddingIndex],
        connection: Connection,
        encoder: OnnxEncoder,
    ) -> None:
        """One follows each change, the other reads them all at once."""
        other_database = Database(StorageSettings(database_url), application="tests")
        await other_database.start()
        early = LiveCatalogue(own_database, embeddings, period_s=60)
        await early.start(wait_s=20)
        for number in range(30):
            await add(connection, encoder, f"n{number:02}", ["red wine", "blue film", "film"][number % 3])
            await connection.execute("delete from products where id = $1", f"n{number - 7:02}")
            await embed(connection, encoder, f"n{number:02}", "blue red wine")
            await early.reach(await token(own_database), timeout_s=20)
        late = LiveCatalogue(other_database, embeddings, period_s=60)
        await late.start(wait_s=20)
        for text in ("red wine", "blue", "film red"):
            one, other = found(early, text=text), found(late, text=text)
            assert list(one.items()) == list(other.items())
        for catalogue in (early, late):
            await catalogue.stop()
        await other_database.close()


class TestBothRetrievers:
    async def test_a_rare_category_is_found_by_preference_whatever_ranks_above_it(
        self, catalogue: LiveCatalogue, own_database: Database, cache: Cache, factors: ActiveArtifact[Factors]
    ) -> None:
        """One candidate is asked for, and the one film is the user's last choice."""
        config = RetrievalConfig(collaborative_limit=1, filter_widening=1)
        retrieval = RecommendationRetrieval(own_database, cache, config, factors=factors, catalogue=catalogue)
        request = RecommendationRequest(user_id="drinker", category="Films", price_max=2.95)
        answer = await retrieval.retrieve(request, timeout_s=10)
        placing = answer.candidates.placings["collaborative"]
        assert [
            product for product, rank in zip(answer.candidates.product_ids, placing.ranks, strict=True) if rank > 0
        ] == ["p3"]

    async def test_and_by_meaning(
        self, catalogue: LiveCatalogue, own_database: Database, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        config = RetrievalConfig(semantic_limit=1, filter_widening=1, min_cosine=-1)
        search = SearchRetrieval(own_database, embeddings, config, catalogue=catalogue)
        request = SearchRequest(q="red red wine", mode="semantic", category="Films", in_stock=False)
        answer = await search.retrieve(request, timeout_s=10)
        assert answer.candidates.product_ids == ["p4"]

    async def test_candidates_by_meaning_carry_their_revisions(
        self, catalogue: LiveCatalogue, embeddings: ActiveArtifact[EmbeddingIndex]
    ) -> None:
        retriever = SemanticRetriever(embeddings, catalogue, limit=10, min_cosine=-1, widening=1)
        retrieved, _ = await retriever.retrieve(REQUEST)
        assert sorted(retrieved.revisions) == sorted(retrieved.product_ids) != []
        assert np.isfinite(retrieved.scores).all()
