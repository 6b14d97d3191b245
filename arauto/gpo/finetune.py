"""Fine-tuning of a sentence encoder on the counts: the likelihood of :mod:`arauto.gpo.likelihood`, by gradient.

One body, K heads. Each head weighs the tests by its own Exp(1) draws, so the heads disagree where the tests do (a
Bayesian bootstrap that shares its encoder). Every step draws its dropout and order from (seed, step): a job cut short
goes on from its last checkpoint and ends with the same numbers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arauto.gpo.checkpoints import load_state, save_state
from arauto.gpo.encoders import SentenceEncoder
from arauto.gpo.extras import need
from arauto.gpo.likelihood import Contrasts
from arauto.gpo.progress import Progress, silent
from arauto.gpo.table import Floats

_RARE = 6.0
"""A contrast further out than so many standard deviations counts as this far: one odd arm does not rule a step."""


class FineTune(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how fast. ``frozen`` lowest layers (and the embeddings) keep their values."""

    epochs: int = 3
    learning_rate: float = 4e-5
    tests: int = 24
    """Tests a step."""
    frozen: int = 0
    keep_every: int = 30
    """Steps between checkpoints."""


@dataclass(frozen=True)
class _Batch:
    texts: list[int]
    mix: Floats
    y: Floats
    weights: Floats


def fine_tune(
    encoder: SentenceEncoder,
    texts: Sequence[str],
    contrasts: Contrasts,
    heads: Floats,
    work: Path,
    *,
    plan: FineTune,
    seed: int,
    progress: Progress = silent,
) -> tuple[SentenceEncoder, Floats]:
    """The encoder with weights moved, saved under ``work/encoder``, and its heads (K, d).

    ``heads`` are starting values over the untouched encoder's vectors; ``texts`` are the table's, row by row.
    """
    torch = need("torch")
    tokenizer, model = encoder.fresh()
    heads_t = torch.nn.Parameter(torch.tensor(heads, dtype=torch.float32))
    for part in (model.embeddings, *model.encoder.layer[: plan.frozen]):
        part.requires_grad_(False)
    body = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": body, "weight_decay": 0.01}, {"params": [heads_t], "weight_decay": 0.0}], lr=plan.learning_rate
    )
    batches_of = _Batches(texts, contrasts, len(heads), plan.tests, seed)
    steps = plan.epochs * batches_of.per_epoch
    trained = {f"body.{i}": p for i, p in enumerate(body)} | {"heads": heads_t}
    done = load_state(work / "finetune.safetensors", trained, optimiser)
    ids = [tokenizer(text, truncation=True, max_length=64)["input_ids"] for text in batches_of.distinct]
    model.train()
    for step, batch in batches_of.from_step(done, steps):
        torch.manual_seed((seed << 20) + step)
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * min(1.0, (step + 1) / 30) * (1.0 - step / steps)
        given, mask = _padded(torch, [ids[i] for i in batch.texts], tokenizer.pad_token_id)
        scores = encoder.pool(model(input_ids=given, attention_mask=mask).last_hidden_state, mask) @ heads_t.T
        misses = (
            torch.tensor(batch.mix, dtype=torch.float32) @ scores - torch.tensor(batch.y, dtype=torch.float32)[:, None]
        )
        loss = (torch.tensor(batch.weights, dtype=torch.float32) * misses.clamp(-_RARE, _RARE) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(body, 1.0)
        optimiser.step()
        if (step + 1) % plan.keep_every == 0 or step + 1 == steps:
            save_state(work / "finetune.safetensors", step + 1, trained, optimiser)
        progress(step + 1, steps, "fine-tune")
    folder = work / "encoder"
    shutil.rmtree(folder, ignore_errors=True)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    found: Floats = heads_t.detach().double().numpy()
    return SentenceEncoder(folder), found


class _Batches:
    """Contrasts by test, in an order that only (seed, epoch) decides."""

    def __init__(self, texts: Sequence[str], contrasts: Contrasts, heads: int, size: int, seed: int) -> None:
        self.distinct, self._place = np.unique(np.array(texts, dtype=object), return_inverse=True)
        self._contrasts = contrasts
        self._size = size
        self._seed = seed
        self._bounds = np.append(np.flatnonzero(np.diff(contrasts.of, prepend=-1)), contrasts.of.size)
        self._tests = np.unique(contrasts.test)
        self._members = {int(t): np.flatnonzero(contrasts.test == t) for t in self._tests}
        draws = np.random.default_rng(seed).exponential(size=(int(contrasts.test.max()) + 1, heads))
        self._draws: Floats = draws
        self.per_epoch = -(-self._tests.size // size)

    def from_step(self, done: int, steps: int) -> Iterator[tuple[int, _Batch]]:
        for step in range(done, steps):
            epoch, at = divmod(step, self.per_epoch)
            order = np.random.default_rng([self._seed, epoch]).permutation(self._tests)
            yield step, self._batch(order[at * self._size : (at + 1) * self._size])

    def _batch(self, tests: np.ndarray) -> _Batch:
        chosen = np.concatenate([self._members[int(t)] for t in tests])
        spans = [slice(self._bounds[i], self._bounds[i + 1]) for i in chosen]
        rows = np.concatenate([self._contrasts.rows[span] for span in spans])
        texts, column = np.unique(self._place[rows], return_inverse=True)
        line = np.repeat(np.arange(len(spans)), [span.stop - span.start for span in spans])
        mix = np.zeros((len(spans), texts.size))
        np.add.at(mix, (line, column), np.concatenate([self._contrasts.weights[span] for span in spans]))
        weights = self._draws[self._contrasts.test[chosen]]
        return _Batch([int(i) for i in texts], mix, self._contrasts.y[chosen], weights)


def _padded(torch: Any, ids: Sequence[Sequence[int]], pad: int) -> tuple[Any, Any]:
    longest = max(len(row) for row in ids)
    given = torch.full((len(ids), longest), pad, dtype=torch.long)
    mask = torch.zeros((len(ids), longest), dtype=torch.long)
    for place, row in enumerate(ids):
        given[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    return given, mask
