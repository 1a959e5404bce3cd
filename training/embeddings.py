"""
The embeddings job: products in; encoder, product vectors and their index out.

Run it as ``ray job submit ... -- python -m training.embeddings``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import faiss
import pyarrow as pa
import pyarrow.parquet as pq
import ray.data
from ray.train.v2.torch.torch_trainer import TorchTrainer

from artifacts.embedding_index import INDEX_FILE, PRODUCTS_FILE
from artifacts.manifest import Manifest, ManifestDraft, new_version
from artifacts.product_text import product_text, text_digest
from storage.named_queries import QUERIES as SERVING_QUERIES
from storage.settings import StorageSettings
from training.arguments import add_runs, job_parser, run_job, runs_at, store_at, whole
from training.embedding_rows import write_embeddings
from training.embedding_run import train_embeddings
from training.encoder_check import require_fidelity
from training.errors import NothingToTrainOn
from training.progress import Stopwatch, conclude, say
from training.publication import parent_of, put_into_use
from training.queries import QUERIES
from training.reading import arrow_table, reading
from training.run import connect, need_cpus, one_worker, run_config, trained

MODEL_NAME = "all-MiniLM-L6-v2"
_COLUMNS = {
    "product_id": pa.string(),
    "title": pa.string(),
    "description": pa.string(),
    "category": pa.string(),
    "brand": pa.string(),
    "attributes": pa.string(),
    "updated_at": pa.int64(),
}


@dataclass(frozen=True)
class Catalogue:
    """All products with the columns ``product_id, title, text, updated_at``, and the change they were read at."""

    products: pa.Table
    changes_position: str


async def read_catalogue(settings: StorageSettings) -> Catalogue:
    """
    Return the products and the position of the change feed, from one snapshot.

    Raises:
        NothingToTrainOn: there are no products.
    """
    async with reading(settings) as connection:
        position = await connection.fetchrow(SERVING_QUERIES["catalogue_position"])
        table = await arrow_table(connection, QUERIES["products_to_embed"], columns=_COLUMNS)
    if not table.num_rows or position is None:
        raise NothingToTrainOn("There are no products. Load some, then run the job again.")
    return Catalogue(
        table.select(["product_id", "title", "updated_at"]).append_column("text", pa.array(_texts(table), pa.string())),
        str(position["position"]),
    )


def _texts(table: pa.Table) -> list[str]:
    return [
        product_text(
            row["title"],
            description=row["description"],
            category=row["category"],
            brand=row["brand"],
            attributes=json.loads(row["attributes"]),
        )
        for row in table.to_pylist()
    ]


def train(flags: argparse.Namespace) -> None:
    """Encode, publish and activate one ``embeddings`` version."""
    store, watch, version, settings = (
        store_at(flags.root),
        Stopwatch(),
        new_version(),
        StorageSettings.from_environment(),
    )
    say(f"embeddings {version}: reading products")
    catalogue = asyncio.run(read_catalogue(settings))
    watch.lap("read")
    say(f"encoding {catalogue.products.num_rows} products")
    connect()
    need_cpus(2)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    trainer = TorchTrainer(
        train_embeddings,
        train_loop_config={"model_name": MODEL_NAME, "threads": flags.threads, "checked": flags.checked},
        datasets={"products": ray.data.from_arrow(catalogue.products.select(["product_id", "title", "text"]))},
        scaling_config=one_worker(),
        run_config=run_config(version, runs_at(flags.root, flags.runs, "embeddings")),
    )
    with trained(trainer) as (directory, report):
        require_fidelity(report["metrics"])
        watch.lap("run")
        encoder = report["encoder"]
        asyncio.run(_store_rows(settings.database_url, encoder["version"], catalogue, directory))
        watch.lap("rows")
        draft = ManifestDraft(
            kind="embeddings",
            version=version,
            encoder=encoder["version"],
            dim=encoder["dim"],
            metric="inner_product",
            counts=report["counts"],
            parameters={
                "model": MODEL_NAME,
                "max_tokens": encoder["max_tokens"],
                "index": report["index"],
                "changes_position": catalogue.changes_position,
            },
            metrics=report["metrics"],
            parent=parent_of(store, "embeddings"),
            seconds=watch.seconds | report["seconds"],
        )
        manifest: Manifest = store.publish(directory, draft)
    put_into_use(store, manifest, flags)
    conclude(manifest)


async def _store_rows(database_url: str, encoder_version: str, catalogue: Catalogue, directory: Path) -> None:
    """Store the run's vectors beside their products."""
    index = faiss.read_index(str(directory / INDEX_FILE))
    product_ids: list[str] = pq.read_table(directory / PRODUCTS_FILE)["product_id"].to_pylist()
    columns = (catalogue.products[name].to_pylist() for name in ("product_id", "updated_at", "text"))
    read = {product: (updated_at, text_digest(text)) for product, updated_at, text in zip(*columns, strict=True)}
    written = await write_embeddings(
        database_url,
        encoder_version,
        product_ids,
        updated_at=[read[product][0] for product in product_ids],
        text_digests=[read[product][1] for product in product_ids],
        vectors=index.reconstruct_n(0, index.ntotal),
    )
    say(f"stored {written} new or changed vectors of {encoder_version}")


def main() -> None:
    """Read the flags and run the job."""
    parser = job_parser("training.embeddings", "Embed the catalogue and export the encoder that queries go through.")
    add_runs(parser)
    parser.add_argument("--threads", type=whole, default=2, help="texts encoded side by side")
    parser.add_argument("--checked", type=whole, default=500, help="products the encoder is checked with")
    flags = parser.parse_args()
    run_job(lambda: train(flags))


if __name__ == "__main__":
    main()
