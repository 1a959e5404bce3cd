"""
The fine-tuning as each of its Ray Train workers sees it.

Symmetric in-batch cross entropy: of a batch, a query's own document has to be nearer to it than all others, and the
other way round. Source: Henderson et al., "Efficient natural language response suggestion for Smart Reply", 2017.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import torch
from numpy.typing import NDArray
from ray.train import Checkpoint, get_checkpoint, get_context, report
from ray.train.torch import get_device, prepare_model

from training.early_stopping import EarlyStopping
from training.embedding_encoder import MODEL_DIRECTORY, loaded_model, model_directory
from training.encoder_export import PooledEncoder
from training.encoder_ranking import JudgedQueries, mean_of

PROGRESS_FILE = "progress.json"
_STATE_FILE, _BEST_FILE = "state.pt", "best.pt"
_ENCODED_AT_ONCE = 64
_SAY_EVERY = 10
_LONGEST_STEP = 1.0
"""The norm that gradients are clipped to."""


def fit_encoder(config: dict[str, Any]) -> None:
    """
    Learn from this worker's share of every batch; report a checkpoint at each look at the held-out queries.

    The last checkpoint has the best model in ``model/`` and, as all have, ``progress.json``.

    Args:
        config: References to ``pairs``, the table of `encoder_pairs.SplitPairs.learned`, and ``judged``, the
            `JudgedQueries`; ``model``, as `model_directory` takes it; ``steps``, ``batch`` (pairs of one worker),
            ``rate``, ``warm_up`` (share of the steps), ``scale``, ``check_every``, ``patience``, ``seed``, ``threads``.
    """
    torch.set_num_threads(config["threads"])
    fit = _Fit(config)
    fit.resume()
    if fit.is_done:
        return
    if fit.stopping.best is None:
        fit.look()
    while fit.step < config["steps"] and not fit.stopping.is_over:
        fit.learn()
        if fit.step % config["check_every"] == 0 or fit.step == config["steps"]:
            fit.look()
    fit.finish()


def contrastive_loss(
    queries: torch.Tensor, documents: torch.Tensor, query_numbers: torch.Tensor, document_numbers: torch.Tensor,
    *, scale: float,
) -> torch.Tensor:  # fmt: skip
    """
    Return the mean cross entropy of finding row i of *documents* by row i of *queries*, and the other way round.

    Rows of the same text as the right one are left out: they are no wrong answers.

    Args:
        queries: float32, shape (n, dim), L2-normalised.
        documents: The same shape.
        query_numbers: int64, shape (n,): equal texts, equal numbers.
        document_numbers: The same of the documents.
        scale: What cosines are multiplied with.
    """
    scores = scale * queries @ documents.T
    same = (query_numbers[:, None] == query_numbers) | (document_numbers[:, None] == document_numbers)
    right = torch.arange(len(scores), device=scores.device)
    same[right, right] = False
    scores = scores.masked_fill(same, float("-inf"))
    cross_entropy = torch.nn.functional.cross_entropy
    return (cross_entropy(scores, right) + cross_entropy(scores.T, right)) / 2


def batch_rows(pairs: int, step: int, *, batch: int, rank: int, workers: int, seed: int) -> NDArray[np.int64]:
    """The rows that worker *rank* learns from in *step*, from 0: every pair once an epoch, but for an odd rest."""
    steps_an_epoch = max(1, pairs // (batch * workers))
    epoch, number = divmod(step, steps_an_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(pairs)
    first = (number * workers + rank) * batch
    return order[first : first + batch]


class _Fit:
    def __init__(self, config: dict[str, Any]) -> None:
        context = get_context()
        self._rank, self._workers = context.get_world_rank(), context.get_world_size()
        self._config, self._device = config, get_device()
        self._pairs: pa.Table = ray.get(config["pairs"])
        self._judged: JudgedQueries = ray.get(config["judged"])
        self.model = loaded_model(model_directory(config["model"]), str(self._device))
        transformer: torch.nn.Module = self.model[0].auto_model  # type: ignore[assignment]
        self._encoder = PooledEncoder(transformer).to(self._device)
        _without_unused(self._encoder)
        # Both texts of a pair go through the same buffers before the gradients come back.
        self._parallel = prepare_model(self._encoder, parallel_strategy_kwargs={"forward_sync_buffers": False})
        learned = [each for each in self._encoder.parameters() if each.requires_grad]
        self._optimizer = torch.optim.AdamW(learned, lr=config["rate"], weight_decay=0.01)
        self._best: dict[str, torch.Tensor] = {}
        self.stopping = EarlyStopping(config["patience"])
        self.step, self.first_step, self.is_done = 0, 0, False
        self._base: float | None = None

    def resume(self) -> None:
        """Go on where the last checkpoint of the run was made, if there is one."""
        checkpoint = get_checkpoint()
        if checkpoint is None:
            return
        with checkpoint.as_directory() as name:
            directory = Path(name)
            progress = json.loads((directory / PROGRESS_FILE).read_text(encoding="utf-8"))
            self.is_done = progress["done"]
            if self.is_done:
                return
            state = torch.load(directory / _STATE_FILE, map_location=self._device, weights_only=True)
            self._encoder.load_state_dict(state["encoder"])
            self._optimizer.load_state_dict(state["optimizer"])
            if self._rank == 0:
                self._best = torch.load(directory / _BEST_FILE, map_location="cpu", weights_only=True)
        self.step = self.first_step = progress["step"]
        self._base, self.stopping = progress["base"], EarlyStopping(**progress["stopping"])
        self._say(f"going on after step {self.step}")

    def learn(self) -> None:
        """One step."""
        config = self._config
        place = {"batch": config["batch"], "rank": self._rank, "workers": self._workers, "seed": config["seed"]}
        rows = self._pairs.take(pa.array(batch_rows(len(self._pairs), self.step, **place)))
        # Dropout is then the same after a restart, and another one on each worker.
        torch.manual_seed(config["seed"] + self.step * self._workers + self._rank)
        for group in self._optimizer.param_groups:
            group["lr"] = config["rate"] * _warmth(self.step, config["steps"], config["warm_up"])
        self._parallel.train()
        with self._mixed_precision():
            queries, documents = (
                self._embedded(self._parallel, rows[name].to_pylist()) for name in ("query", "document")
            )
        numbers = (torch.tensor(rows[name].to_numpy(), device=self._device) for name in _NUMBERS)
        loss = contrastive_loss(queries.float(), documents.float(), *numbers, scale=config["scale"])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._encoder.parameters(), _LONGEST_STEP)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.step += 1
        if self.step % _SAY_EVERY == 0:
            self._say(f"step {self.step} of {config['steps']}, loss {loss.item():.3f}")

    def look(self) -> None:
        """Look how much of the held-out queries is found, and report a checkpoint."""
        by_kind = self._judged.ndcg(self._vectors(self._judged.texts()))
        figure = mean_of(by_kind)
        if self._base is None:
            self._base = figure
        if self.stopping.saw(figure, self.step) and self._rank == 0:
            self._best = {name: tensor.to("cpu", copy=True) for name, tensor in self._encoder.state_dict().items()}
        self._say(f"after {self.step} steps: held-out NDCG@10 {figure:.4f}, at best {self.stopping.best:.4f}")
        self._report()

    def finish(self) -> None:
        """Report the best model."""
        self.is_done = True
        self._report()

    def _report(self) -> None:
        progress = {
            "step": self.step,
            "first_step": self.first_step,
            "base": self._base,
            "stopping": self.stopping.as_state(),
            "done": self.is_done,
        }
        if self._rank:
            report(progress)
            return
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            (directory / PROGRESS_FILE).write_text(json.dumps(progress), encoding="utf-8")
            if self.is_done:
                self._encoder.load_state_dict(self._best)
                self.model.save(str(directory / MODEL_DIRECTORY), create_model_card=False)
            else:
                state = {"encoder": self._encoder.state_dict(), "optimizer": self._optimizer.state_dict()}
                torch.save(state, directory / _STATE_FILE)
                torch.save(self._best, directory / _BEST_FILE)
            report(progress, checkpoint=Checkpoint.from_directory(directory))

    def _embedded(self, encoder: torch.nn.Module, texts: list[str]) -> torch.Tensor:
        tokens = self.model.tokenizer(
            texts, padding=True, truncation=True, max_length=self.model.max_seq_length, return_tensors="pt"
        ).to(self._device)
        vectors: torch.Tensor = encoder(tokens["input_ids"], tokens["attention_mask"], tokens["token_type_ids"])
        return vectors

    def _vectors(self, texts: list[str]) -> NDArray[np.float32]:
        """The vectors of all *texts*, of which each worker encodes a share."""
        bounds = [len(texts) * rank // self._workers for rank in range(self._workers + 1)]
        own = texts[bounds[self._rank] : bounds[self._rank + 1]]
        by_length = sorted(range(len(own)), key=lambda row: len(own[row]))
        found = np.empty((len(own), int(self.model.get_embedding_dimension() or 0)), np.float32)
        self._encoder.eval()
        with torch.inference_mode(), self._mixed_precision():
            for first in range(0, len(own), _ENCODED_AT_ONCE):
                rows = by_length[first : first + _ENCODED_AT_ONCE]
                found[rows] = self._embedded(self._encoder, [own[row] for row in rows]).float().cpu().numpy()
        if self._workers == 1:
            return found
        parts: list[Any] = [None] * self._workers
        torch.distributed.all_gather_object(parts, found)
        return np.concatenate(parts)

    def _mixed_precision(self) -> Any:  # noqa: ANN401  one of two context managers
        return torch.autocast("cuda", torch.bfloat16) if self._device.type == "cuda" else nullcontext()

    def _say(self, message: str) -> None:
        if self._rank == 0:
            print(message, flush=True)


_NUMBERS = ("query_number", "document_number")


def _warmth(step: int, steps: int, warm_up: float) -> float:
    """The share of the full rate: it rises evenly, then falls to 0 evenly."""
    rising = max(1, round(steps * warm_up))
    return (step + 1) / rising if step < rising else (steps - step) / max(1, steps - rising)


def _without_unused(encoder: PooledEncoder) -> None:
    """Parameters that no vector depends on get no gradient, which workers would wait for."""
    pooler = getattr(encoder.transformer, "pooler", None)
    if pooler is not None:
        pooler.requires_grad_(requires_grad=False)
