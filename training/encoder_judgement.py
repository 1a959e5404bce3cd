"""The tuned encoder against the model it came from and the one in use, each as serving would run it: int8, by ONNX."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.train import Checkpoint

from artifacts.encoder import OnnxEncoder
from evaluation.intervals import bootstrap_intervals
from training.embedding_encoder import (
    MODEL_DIRECTORY,
    MODEL_NAME,
    CheckedTexts,
    Encoder,
    export_checked,
    loaded_model,
    model_directory,
    source_of,
)
from training.encoder_ranking import JudgedQueries, mean_of
from training.errors import QualityTooLow

_CHECKED = 500


@dataclass(frozen=True)
class JudgementOrder:
    """
    What to judge.

    Attributes:
        checkpoint: Of a run, where any node can read it.
        model: The base model, as `model_directory` takes it.
        judged: What the held-out pairs ask.
        in_use: The tuned encoder in use; None where there is none.
        threads: How many it takes.
    """

    checkpoint: Checkpoint
    model: str | None
    judged: JudgedQueries
    in_use: Encoder | None
    threads: int


@dataclass(frozen=True)
class EncoderJudgement:
    """
    What was found.

    Attributes:
        encoder: The tuned one, exported.
        found: NDCG@10 of each held-out query by kind, by the tuned encoder.
        base: The same by the base model.
        in_use: The same by the tuned encoder in use; None where there is none.
    """

    encoder: Encoder
    found: Mapping[str, NDArray[np.float64]]
    base: Mapping[str, NDArray[np.float64]]
    in_use: Mapping[str, NDArray[np.float64]] | None

    def metrics(self) -> dict[str, float]:
        """The figures for the manifest."""
        low, high = self.gain_interval()
        figures = {
            "ndcg_at_10": mean_of(self.found),
            "ndcg_at_10_base": mean_of(self.base),
            "ndcg_at_10_gain": mean_of(self.found) - mean_of(self.base),
            "ndcg_at_10_gain_low": low,
            "ndcg_at_10_gain_high": high,
        }
        for kind in self.found:
            figures[f"{kind}_ndcg_at_10"] = float(self.found[kind].mean())
            figures[f"{kind}_ndcg_at_10_base"] = float(self.base[kind].mean())
        if self.in_use is not None:
            figures["ndcg_at_10_in_use"] = mean_of(self.in_use)
        return {name: round(value, 4) for name, value in figures.items()} | dict(self.encoder.metrics)

    def gain_interval(self) -> tuple[float, float]:
        """Where the mean gain over the base model lies, over queries, to 95 %."""
        gains = np.concatenate([self.found[kind] - self.base[kind] for kind in self.found])
        low, high = bootstrap_intervals(gains[:, np.newaxis])
        return float(low[0]), float(high[0])


def require_gain(metrics: Mapping[str, float], least: float) -> None:
    """
    Refuse a tuned encoder that is not better than the others by *least*.

    Raises:
        QualityTooLow: it is not; the message has the figures.
    """
    found, base, low = metrics["ndcg_at_10"], metrics["ndcg_at_10_base"], metrics["ndcg_at_10_gain_low"]
    if not found >= base + least:
        raise QualityTooLow(
            f"The tuned encoder is not kept: held-out NDCG@10 {found:.4f} against {base:.4f} of the base model, "
            f"{least:g} more is needed (--least-gain)."
        )
    if not low > 0:
        raise QualityTooLow(
            f"The tuned encoder is not kept: held-out NDCG@10 {found:.4f} against {base:.4f} of the base model could "
            f"be chance, the 95 % interval of the difference begins at {low:.4f}. Judge by more pairs (--judged)."
        )
    in_use = metrics.get("ndcg_at_10_in_use")
    if in_use is not None and not found >= in_use + least:
        raise QualityTooLow(
            f"The tuned encoder is not kept: held-out NDCG@10 {found:.4f} against {in_use:.4f} of the tuned one in use "
            f"and {base:.4f} of the base model; {least:g} more is needed (--least-gain) to embed all products anew."
        )


@ray.remote(num_cpus=1, max_retries=3)
def judged_encoder(order: JudgementOrder) -> EncoderJudgement:
    """Export the tuned model and its base, and let both and the one in use answer the held-out queries."""
    with order.checkpoint.as_directory() as directory:
        tuned = Path(directory) / MODEL_DIRECTORY
        name = Path(order.model).name if order.model else MODEL_NAME
        encoder = export_checked(tuned, f"{name}-tuned", source_of(tuned), _sample(order.judged), order.threads)
    with tempfile.TemporaryDirectory() as directory_name:
        base = _base(order, Path(directory_name))
    return EncoderJudgement(
        encoder,
        found=_answered(order, encoder),
        base=base,
        in_use=_answered(order, order.in_use) if order.in_use else None,
    )


def _base(order: JudgementOrder, directory: Path) -> dict[str, NDArray[np.float64]]:
    from training.encoder_export import export_encoder  # noqa: PLC0415  it imports torch

    export_encoder(loaded_model(model_directory(order.model), "cpu"), "base", directory)
    return _ranked(order, directory)


def _answered(order: JudgementOrder, encoder: Encoder) -> dict[str, NDArray[np.float64]]:
    with tempfile.TemporaryDirectory() as name:
        encoder.save(Path(name))
        return _ranked(order, Path(name))


def _ranked(order: JudgementOrder, directory: Path) -> dict[str, NDArray[np.float64]]:
    return order.judged.ndcg(OnnxEncoder(directory, threads=order.threads).encode(order.judged.texts()))


def _sample(judged: JudgedQueries) -> CheckedTexts:
    """Some held-out queries, each with a document that answers it."""
    pairs: list[tuple[Any, str]] = [
        (query, kind.documents[right[0]])
        for kind in judged.kinds.values()
        for query, right in zip(kind.queries, kind.right, strict=True)
    ]
    queries, documents = zip(*pairs[:: -(-len(pairs) // _CHECKED)], strict=True)
    return CheckedTexts(queries, documents, documents)
