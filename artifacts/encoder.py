"""The text encoder as serving runs it: one ONNX graph with pooling and normalisation inside, a tokenizer beside it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from artifacts.errors import ArtifactCorrupt

ENCODER_FILE = "encoder.onnx"
TOKENIZER_FILE = "tokenizer.json"


_log = logging.getLogger(__name__)


class OnnxEncoder:
    """
    Texts to unit vectors; the same text gives the same bytes, whatever it is encoded with.

    That is why texts are run one at a time: a dynamically quantised graph takes its scales from the whole batch, so
    that in a batch a text's neighbours would move its vector. Safe to use from several threads.
    """

    def __init__(self, directory: Path, threads: int = 1) -> None:
        """
        Load the encoder from *directory*.

        Raises:
            ArtifactCorrupt: the graph or the tokenizer cannot be loaded.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(directory / ENCODER_FILE), options, providers=["CPUExecutionProvider"]
            )
            self._tokenizer = Tokenizer.from_file(str(directory / TOKENIZER_FILE))
        except Exception as error:  # both libraries raise bare Exceptions of their own
            raise ArtifactCorrupt(
                f"The encoder in {directory} cannot be loaded: {error}. Train embeddings again."
            ) from error
        self._tokenizer.no_padding()
        self._inputs = {entry.name for entry in self._session.get_inputs()}
        self._threads = threads
        self.dim = int(self._session.get_outputs()[0].shape[-1])

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32, shape (n, dim): row i is the L2-normalised vector of ``texts[i]``; n may be 0."""
        if self._threads == 1 or len(texts) == 1:
            rows = list(map(self._encode_one, texts))
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                rows = list(pool.map(self._encode_one, texts))
        return np.array(rows, dtype=np.float32).reshape(len(texts), self.dim)

    def encode_what_can_be(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """As `encode`; the row of a text that cannot be encoded is not numbers: it must not hold up the others."""
        try:
            return self.encode(texts)
        except Exception:  # noqa: BLE001  as the libraries raise them
            if len(texts) == 1:
                _log.exception("a text of %d characters cannot be embedded", len(texts[0]))
                return np.full((1, self.dim), np.nan, dtype=np.float32)
        return np.concatenate([self.encode_what_can_be([text]) for text in texts])

    def _encode_one(self, text: str) -> NDArray[np.float32]:
        tokens = self._tokenizer.encode(text)
        feed = {
            "input_ids": np.array([tokens.ids], dtype=np.int64),
            "attention_mask": np.array([tokens.attention_mask], dtype=np.int64),
            "token_type_ids": np.array([tokens.type_ids], dtype=np.int64),
        }
        outputs = self._session.run(None, {name: feed[name] for name in self._inputs})
        vector: NDArray[np.float32] = outputs[0][0]
        return vector
