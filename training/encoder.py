"""
The encoder job: the encoder fine-tuned on the catalogue's own pairs of texts, kept only if it finds more.

Run it as ``ray job submit ... -- python -m training.encoder``. What it keeps is taken up by the next run of
``training.embeddings``, which embeds all products anew.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import ray
from ray.exceptions import RayError, RayTaskError
from ray.train import Checkpoint

from artifacts.errors import ArtifactError
from artifacts.manifest import ArtifactKind, Manifest, ManifestDraft, new_version
from artifacts.store import ArtifactStore
from storage.settings import StorageSettings
from training.answer_log import DAYS, EVENTS, FOLLOWING_HOURS
from training.arguments import (
    add_runs,
    add_snapshot,
    job_parser,
    positive,
    require_writable,
    run_job,
    runs_at,
    seed,
    share,
    store_at,
    whole,
)
from training.config_file import parsed_flags
from training.embedding_encoder import (
    ACTIVE_ENCODER,
    MODEL_DIRECTORY,
    MODEL_NAME,
    SOURCE,
    Encoder,
    model_directory,
    source_of,
    tuned_encoder,
)
from training.encoder_check import require_fidelity
from training.encoder_judgement import EncoderJudgement, JudgementOrder, judged_encoder, require_gain
from training.encoder_pairs import SplitPairs, SplitRule
from training.encoder_sources import PairSource
from training.errors import NothingToTrainOn, QualityTooLow, RunFailed
from training.progress import Stopwatch, conclude, say
from training.publication import parent_of, put_into_use
from training.run import Report, connect, finished, need_cpus, remove_run, run_config, workers_on
from training.up_to_date import MADE_FROM, current, made_from

KIND: ArtifactKind = "encoder"
LEAST_JUDGED = 50
"""Held-out queries without which a difference says nothing."""
RESTARTS = 3
"""How often the workers of a run are started anew after one was lost."""


def train(flags: argparse.Namespace) -> None:
    """Fine-tune, judge, and publish and activate one ``encoder`` version if it is better."""
    require_writable(flags.root)
    store, watch = store_at(flags.root), Stopwatch()
    say(f"{KIND}: reading {flags.pairs or flags.snapshot or 'the catalogue'}")
    split = _source(flags).split(SplitRule(flags.seed, flags.holdout, flags.most_pairs, flags.judged, flags.candidates))
    say(", ".join(f"{name} {count:,}" for name, count in split.counts.items()))
    _require_enough(split, flags)
    watch.lap("read")
    base = source_of(model_directory(flags.model))
    origin = made_from(f"{split.digest()} {base} {flags.workers}", flags)
    if flags.if_changed and (unchanged := current(store, KIND, origin)):
        say(f"nothing changed since {unchanged.version}, which stays in use")
        conclude(unchanged, changed=False)
        return
    connect()
    need_cpus(flags.workers * flags.cpus)
    # Named after what it is made from: a job that was killed and is started again goes on with its run.
    runs, run = runs_at(flags.root, flags.runs, KIND), origin[:16]
    checkpoint, progress = _fitted(split, flags, runs, run)
    watch.lap("run")
    try:
        judgement = _judgement(store, checkpoint, progress, split, flags)
    except QualityTooLow:
        remove_run(runs, run)
        raise
    watch.lap("judge")
    draft = _draft(store, judgement, split, progress=progress, origin=origin, flags=flags, watch=watch)
    manifest = _published(store, checkpoint, judgement, draft)
    remove_run(runs, run)
    put_into_use(store, manifest, flags)
    if flags.activate:
        say("run training.embeddings to embed the products with it")
    conclude(manifest)


def _source(flags: argparse.Namespace) -> PairSource:
    from_database = flags.pairs is None and (flags.snapshot is None or flags.clicks)
    events = [each.strip() for each in flags.events.split(",") if each.strip()] if flags.clicks else []
    settings = StorageSettings.from_environment() if from_database else None
    return PairSource(flags.pairs, flags.root, flags.snapshot, settings, events, flags.days, flags.following_hours)


def _require_enough(split: SplitPairs, flags: argparse.Namespace) -> None:
    at_once = flags.batch * flags.workers
    if len(split.learned) < at_once or len(split.judged) < LEAST_JUDGED:
        raise NothingToTrainOn(
            f"{len(split.learned)} pairs to learn from and {len(split.judged)} held-out queries are too few: {at_once} "
            f"(--batch times --workers) and {LEAST_JUDGED} are needed. Products need a title and a description."
        )


def _fitted(split: SplitPairs, flags: argparse.Namespace, runs: str, run: str) -> tuple[Checkpoint, Report]:
    """Run, or go on with, the Ray Train run; return its last checkpoint and what was reported with it."""
    # torch takes seconds to import: whoever asks for help, or has nothing new to train on, does not wait for it.
    from ray.train.torch import TorchTrainer  # noqa: PLC0415

    from training.encoder_fit import fit_encoder  # noqa: PLC0415

    steps = flags.steps or max(1, flags.epochs * len(split.learned) // (flags.batch * flags.workers))
    gpu = _takes_gpus(flags)
    say(f"up to {steps} steps of {flags.batch} pairs, {flags.workers} worker(s) on {'a GPU each' if gpu else 'CPUs'}")
    trainer = TorchTrainer(
        fit_encoder,
        train_loop_config={
            "pairs": ray.put(split.learned),
            "judged": ray.put(split.judged),
            "model": flags.model,
            "steps": steps,
            "batch": flags.batch,
            "rate": flags.rate,
            "warm_up": flags.warm_up,
            "scale": flags.scale,
            "check_every": flags.check_every,
            "patience": flags.patience,
            "seed": flags.seed,
            "threads": flags.cpus,
        },
        scaling_config=workers_on(flags.workers, cpus=flags.cpus, gpu=gpu),
        # Ray's annotation names the class it replaces at run time.
        run_config=run_config(run, runs, restarts=RESTARTS),  # type: ignore[arg-type]
    )
    return finished(trainer)  # type: ignore[arg-type]


def _takes_gpus(flags: argparse.Namespace) -> bool:
    """Whether each worker gets a GPU: by ``auto`` where the cluster has that many."""
    gpus = ray.cluster_resources().get("GPU", 0)  # type: ignore[no-untyped-call]
    return bool(flags.device == "gpu" or (flags.device == "auto" and gpus >= flags.workers))


def _judgement(
    store: ArtifactStore, checkpoint: Checkpoint, progress: Report, split: SplitPairs, flags: argparse.Namespace
) -> EncoderJudgement:
    """
    Judge what the run brought, as serving would run it.

    Raises:
        QualityTooLow: it is not better than the base model, than the one in use, or strays when exported.
    """
    stopping = progress["stopping"]
    if not stopping["best_step"] and not flags.force:
        raise QualityTooLow(
            f"The tuned encoder is not kept: in {progress['step']} steps held-out NDCG@10 never came above "
            f"{progress['base']:.4f}, that of the base model. Try a lower --rate, or more pairs."
        )
    say(f"best after {stopping['best_step']} steps; exporting it, and judging it by {len(split.judged)} queries")
    order = JudgementOrder(checkpoint, flags.model, split.judged, _in_use(store), flags.cpus)
    try:
        found: EncoderJudgement = ray.get(judged_encoder.options(num_cpus=flags.cpus).remote(order))
    except RayTaskError as error:
        raise error.cause from error
    except RayError as error:
        raise RunFailed(f"The task died: {error} The run is kept; run the job again.") from error
    metrics = found.metrics()
    for name, value in metrics.items():
        say(f"{name} {value}")
    require_fidelity(metrics, advice="tune it less: a lower --rate, or fewer --steps")
    if not flags.force:
        require_gain(metrics, flags.least_gain)
    return found


def _in_use(store: ArtifactStore) -> Encoder | None:
    """The tuned encoder in use; one that is lost must not keep a sound one out."""
    try:
        return tuned_encoder(store, ACTIVE_ENCODER)
    except ArtifactError as error:
        say(f"not compared with the tuned encoder in use: {error}")
        return None


def _draft(
    store: ArtifactStore,
    judgement: EncoderJudgement,
    split: SplitPairs,
    *,
    progress: Report,
    origin: str,
    flags: argparse.Namespace,
    watch: Stopwatch,
) -> ManifestDraft:
    said = ("batch", "workers", "rate", "warm_up", "scale", "seed", "epochs", "holdout", "snapshot", "pairs")
    return ManifestDraft(
        kind=KIND,
        version=new_version(),
        encoder=judgement.encoder.version,
        dim=judgement.encoder.dim,
        metric="inner_product",
        counts=split.counts | {"steps": progress["stopping"]["best_step"]},
        parameters={
            "model": flags.model or MODEL_NAME,
            "max_tokens": judgement.encoder.max_tokens,
            SOURCE: judgement.encoder.source,
            MADE_FROM: origin,
            "judged_by": split.judged.digest(),
            "settings": {name: getattr(flags, name) for name in said},
        },
        metrics=judgement.metrics(),
        parent=parent_of(store, KIND),
        seconds=watch.seconds,
    )


def _published(
    store: ArtifactStore, checkpoint: Checkpoint, judgement: EncoderJudgement, draft: ManifestDraft
) -> Manifest:
    with checkpoint.as_directory() as found, tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        shutil.copytree(Path(found) / MODEL_DIRECTORY, directory / MODEL_DIRECTORY)
        judgement.encoder.save(directory)
        return store.publish(directory, draft)


def job_flags() -> argparse.ArgumentParser:
    """The flags of the job."""
    parser = job_parser("training.encoder", "Fine-tune the encoder on the catalogue's own pairs; keep it if better.")
    add_runs(parser)
    add_snapshot(parser)
    parser.add_argument("--pairs", help="parquet with query, document and perhaps product_id, instead of all else")
    parser.add_argument("--no-clicks", dest="clicks", action="store_false", help="learn from titles alone")
    parser.add_argument("--events", default=",".join(EVENTS), help="types that count as a click after a search")
    parser.add_argument("--days", type=whole, default=DAYS, help="how far to look back for them")
    parser.add_argument("--following-hours", type=whole, default=FOLLOWING_HOURS, help="hours they follow a search in")
    parser.add_argument("--model", help=f"directory of a sentence-transformers model, on every node; else {MODEL_NAME}")
    parser.add_argument("--workers", type=whole, default=1, help="processes that share each step, on any nodes")
    parser.add_argument("--cpus", type=whole, default=2, help="CPUs of a worker")
    parser.add_argument("--device", choices=("auto", "cpu", "gpu"), default="auto", help="auto: GPUs where there are")
    parser.add_argument("--batch", type=whole, default=64, help="pairs a worker learns from in a step")
    parser.add_argument("--epochs", type=whole, default=1, help="how often each pair is seen at most")
    parser.add_argument("--steps", type=whole, help="most steps, instead of --epochs")
    parser.add_argument("--rate", type=positive, default=2e-5, help="learning rate after warm-up")
    parser.add_argument("--warm-up", type=share, default=0.1, help="share of the steps in which the rate rises")
    parser.add_argument("--scale", type=positive, default=20.0, help="what cosines are multiplied with in the loss")
    parser.add_argument("--check-every", type=whole, default=50, help="steps between two looks, each a checkpoint")
    parser.add_argument("--patience", type=whole, default=3, help="looks without a better figure before it stops")
    parser.add_argument("--seed", type=seed, default=7, help="start of the random numbers; decides what is held out")
    parser.add_argument("--holdout", type=share, default=0.1, help="share of the products that are held out")
    parser.add_argument("--most-pairs", type=whole, default=200_000, help="pairs to learn from at most")
    parser.add_argument("--judged", type=whole, default=500, help="held-out pairs of each kind to judge by at most")
    parser.add_argument("--candidates", type=whole, default=2_000, help="texts that the right one is found among")
    parser.add_argument("--least-gain", type=share, default=0.01, help="NDCG@10 that it has to be better by")
    return parser


def main() -> None:
    """Read the flags and run the job."""
    parser = job_flags()
    flags = parsed_flags(parser)
    if flags.pairs and flags.snapshot:
        parser.error("--pairs and --snapshot exclude each other")
    run_job(lambda: train(flags))


if __name__ == "__main__":
    main()
