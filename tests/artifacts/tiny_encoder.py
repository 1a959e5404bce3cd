"""An encoder of a few words and four dimensions, in the form that the embeddings job exports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from artifacts.encoder import ENCODER_FILE, TOKENIZER_FILE

VOCABULARY = {"[UNK]": 0, "red": 1, "blue": 2, "wine": 3, "film": 4}
DIM = 4
MAX_TOKENS = 8


def write_tiny_encoder(directory: Path, seed: int = 3) -> None:
    """Write a graph that looks words up, averages and normalises them, and its tokenizer; *seed* gives the words."""
    table = np.random.default_rng(seed).normal(size=(len(VOCABULARY), DIM)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
            helper.make_node("ReduceMean", ["tokens"], ["mean"], axes=[1], keepdims=0),
            helper.make_node("LpNormalization", ["mean"], ["embedding"], axis=1, p=2),
        ],
        "tiny",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["texts", "tokens"])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", DIM])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(directory / ENCODER_FILE))
    tokenizer = Tokenizer(models.WordLevel(VOCABULARY, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.save(str(directory / TOKENIZER_FILE))
