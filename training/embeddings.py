"""
The embeddings job: products in; encoder, product vectors and their index out.

Run it as ``ray job submit ... -- python -m training.embeddings``. Only products are encoded whose text or encoder is
another than that of their stored vector; where nothing changed, nothing is published.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from artifacts.embedding_index import EmbeddingIndex
from artifacts.errors import ArtifactError
from artifacts.index_kind import KIND, PLANNED
from artifacts.manifest import Manifest, ManifestDraft, new_version
from artifacts.store import ArtifactStore
from storage.settings import StorageSettings
from training.arguments import job_parser, require_writable, run_job, share, store_at, whole
from training.config_file import parsed_flags
from training.embedding_encoder import (
    ACTIVE_ENCODER,
    MODEL_NAME,
    CheckedTexts,
    Encoder,
    exported_encoder,
    kept_encoder,
    model_directory,
    source_of,
    tuned_encoder,
)
from training.embedding_pass import PassCounts, PassPlan, embed_catalogue
from training.embedding_texts import CatalogueLook, look_at_catalogue
from training.embedding_vectors import StoredDigest, log_position, stored_digest
from training.embedding_version import DIGEST, VersionOrder, made_version
from training.encoder_check import require_fidelity
from training.errors import RunFailed
from training.index_check import LEAST_RECALL
from training.index_choice import AUTOMATIC, index_plan
from training.progress import Stopwatch, conclude, say
from training.publication import parent_of, put_into_use
from training.run import connect, need_cpus


def train(flags: argparse.Namespace) -> None:
    """Encode what changed; publish and activate an ``embeddings`` version if it differs from the one in use."""
    require_writable(flags.root)
    store, watch, version = store_at(flags.root), Stopwatch(), new_version()
    settings = StorageSettings.from_environment()
    parent = _parent(store)
    say(f"embeddings {version}: looking at the catalogue")
    look = asyncio.run(look_at_catalogue(settings, sample=flags.checked))
    connect()
    need_cpus(flags.threads)
    watch.lap("look")
    encoder = _encoder(store, parent, look, flags)
    watch.lap("encoder")
    counts = _embed(settings, encoder, look, flags)
    after = asyncio.run(log_position(settings.database_url))
    watch.lap("encode")
    stored = asyncio.run(stored_digest(settings, encoder.version, after=after))
    if parent is not None and not flags.anew and _is_up_to_date(store, parent, stored, encoder.version, flags.index):
        say(f"encoded 0 products: nothing changed since {parent.version}, which stays in use. --anew publishes anyway")
        conclude(parent.model_copy(update={"counts": parent.counts | {"encoded": 0}}), changed=False)
        return
    order = VersionOrder(
        root=flags.root,
        draft=ManifestDraft(
            kind="embeddings",
            version=version,
            counts={"encoded": counts.encoded, "unreadable": counts.unreadable},
            parameters={"changes_position": look.changes_position},
            parent=parent.version if parent is not None else parent_of(store, "embeddings"),
            seconds=watch.seconds,
        ),
        settings=settings,
        model=encoder.source if encoder.source.startswith("encoder ") else flags.model or MODEL_NAME,
        after=after,
        titles=[product.title for product in look.sample],
        index=flags.index,
        least_recall=flags.least_recall,
        threads=flags.threads,
    )
    say("building the index")
    manifest: Manifest = _result(lambda: made_version.options(num_cpus=flags.threads).remote(order, encoder))
    say(f"index {manifest.parameters['index'][KIND]}: {_figures(manifest)}")
    put_into_use(store, manifest, flags)
    conclude(manifest)


def _parent(store: ArtifactStore) -> Manifest | None:
    """The manifest of the version in use, or None where there is none that can be read."""
    try:
        version = parent_of(store, "embeddings")
        return None if version is None else store.manifest("embeddings", version)
    except ArtifactError:
        return None


def _encoder(store: ArtifactStore, parent: Manifest | None, look: CatalogueLook, flags: argparse.Namespace) -> Encoder:
    """The tuned encoder; else that of the version in use where it is the same; else one that passed its check."""
    if flags.model is None and (tuned := tuned_encoder(store, flags.encoder)):
        say(f"the encoder is {tuned.version}, tuned by {tuned.source}")
        return tuned
    model = model_directory(flags.model)
    source = source_of(model)
    if kept := kept_encoder(store, parent, source):
        say(f"the encoder is still {kept.version}")
        return kept
    say(f"exporting the encoder, and comparing it with its original on {len(look.sample)} products")
    name = model.name if flags.model else MODEL_NAME
    sample = CheckedTexts.of_products(look.sample)
    encoder: Encoder = _result(lambda: exported_encoder.remote(model, name, source, sample, flags.threads))
    require_fidelity(encoder.metrics)
    say(f"the encoder is {encoder.version}: {', '.join(f'{key} {value}' for key, value in encoder.metrics.items())}")
    return encoder


def _embed(settings: StorageSettings, encoder: Encoder, look: CatalogueLook, flags: argparse.Namespace) -> PassCounts:
    workers = flags.workers or max(1, int(ray.cluster_resources().get("CPU", 1)) // flags.threads)  # type: ignore[no-untyped-call]
    plan = PassPlan(settings, encoder.version, workers, flags.threads)
    counts = embed_catalogue(plan, encoder.files, look.ranges)
    if counts.unreadable:
        say(f"{counts.unreadable} products have a text that the encoder cannot take; they are found by keyword only")
    if counts.behind:
        say(f"{len(counts.behind)} ranges have products that keep changing; they are embedded as they are written")
    return counts


def _is_up_to_date(store: ArtifactStore, parent: Manifest, stored: StoredDigest, encoder: str, index: str) -> bool:
    """Whether *parent* is sound and holds just what a new version would."""
    said = parent.parameters
    if (parent.encoder, said.get(DIGEST)) != (encoder, stored.digest):
        return False
    if said.get("index", {}).get(PLANNED) != index_plan(stored.count, index).kind:
        return False
    try:
        EmbeddingIndex.load(store.fetch("embeddings", parent.version), parent)
    except ArtifactError as error:
        say(f"{parent.version} would be up to date, but: {error}")
        return False
    return True


def _figures(manifest: Manifest) -> str:
    names = ("recall_at_10", "query_p50_ms", "query_p95_ms", "exact_p50_ms", "exact_p95_ms")
    return ", ".join(f"{name} {manifest.metrics[name]}" for name in names)


def _result(task: Callable[[], Any]) -> Any:  # noqa: ANN401
    """What *task* returns; its error as it was raised there."""
    try:
        return ray.get(task())
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise RunFailed(f"The task died: {error} What was encoded before is kept; run the job again.") from error


def main() -> None:
    """Read the flags and run the job."""
    parser = job_parser("training.embeddings", "Embed the catalogue and export the encoder that queries go through.")
    parser.add_argument("--model", help=f"directory of a sentence-transformers model; else {MODEL_NAME}")
    parser.add_argument(
        "--encoder", default=ACTIVE_ENCODER, help="version of a tuned encoder; base: none; without one in use, none"
    )
    parser.add_argument("--index", default=AUTOMATIC, help="kind of FAISS index, such as Flat or IVF2048,SQ8; by size")
    parser.add_argument("--least-recall", type=share, default=LEAST_RECALL, help="of the ten nearest, or no version")
    parser.add_argument("--anew", action="store_true", help="publish a version though nothing changed")
    parser.add_argument("--threads", type=whole, default=2, help="texts encoded side by side by a worker")
    parser.add_argument("--workers", type=whole, help="workers that encode; else as many as the cluster has room for")
    parser.add_argument("--checked", type=whole, default=500, help="products that encoder and index are checked with")
    flags = parsed_flags(parser)
    run_job(lambda: train(flags))


if __name__ == "__main__":
    main()
