"""A sentence-transformers model as one ONNX graph that serving can run without torch."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from artifacts.encoder import ENCODER_FILE, TOKENIZER_FILE

OPSET = 17


@dataclass(frozen=True)
class ExportedEncoder:
    """What was exported: its version follows from the bytes, so that the same encoder keeps its name."""

    version: str
    dim: int
    max_tokens: int


class PooledEncoder(torch.nn.Module):
    """A transformer with mean pooling and L2 normalisation: token ids (n, t) to unit vectors (n, dim)."""

    def __init__(self, transformer: torch.nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> torch.Tensor:
        """The normalised mean of the token vectors that the mask lets through."""
        tokens = self.transformer(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        mask = attention_mask.unsqueeze(-1).to(tokens.dtype)
        mean = (tokens * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
        return torch.nn.functional.normalize(mean, p=2, dim=1)


def export_encoder(model: SentenceTransformer, name: str, directory: Path) -> ExportedEncoder:
    """Write *model* as a dynamically quantised int8 graph, scales by channel, and its tokenizer into *directory*."""
    max_tokens = int(model.max_seq_length or 256)
    full = directory / "full.onnx"
    with _quiet():
        _export_full(model, full)
        quantize_dynamic(full, directory / ENCODER_FILE, per_channel=True, weight_type=QuantType.QInt8)
    full.unlink()
    tokenizer: Tokenizer = Tokenizer.from_str(model.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    tokenizer.save(str(directory / TOKENIZER_FILE))
    digest = hashlib.sha256((directory / ENCODER_FILE).read_bytes() + (directory / TOKENIZER_FILE).read_bytes())
    dim = model.get_embedding_dimension()
    return ExportedEncoder(f"{name}-int8-{digest.hexdigest()[:12]}", int(dim or 0), max_tokens)


def _export_full(model: SentenceTransformer, target: Path) -> None:
    """The float32 graph, by the TorchScript exporter: the newer one needs onnxscript."""
    sample = model.tokenizer(["one text", "a second, longer text"], padding=True, return_tensors="pt")
    names = ["input_ids", "attention_mask", "token_type_ids"]
    transformer: torch.nn.Module = model[0].auto_model  # type: ignore[assignment]
    encoder = PooledEncoder(transformer).eval()
    with torch.no_grad():
        torch.onnx.export(
            encoder,
            tuple(sample[name] for name in names),
            str(target),
            input_names=names,
            output_names=["embedding"],
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in names} | {"embedding": {0: "texts"}},
            opset_version=OPSET,
            dynamo=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters warn of what `encoder_check` tests anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
