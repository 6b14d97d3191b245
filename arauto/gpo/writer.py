"""A language model as a policy: batched writing with a KV cache, LoRA, a value head, the base as reference."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from arauto.core.errors import ModelFileError
from arauto.core.files import write_whole
from arauto.gpo.extras import need
from arauto.gpo.files import load_tensors, save_tensors
from arauto.gpo.lm import Generator
from arauto.gpo.ppo import Rollout

Tensor = Any
CUT = "\u2403"
"""Stands at the end of a text that had not ended when its tokens ran out."""
_ADAPTED = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "c_attn", "c_proj", "c_fc")


def lora(layer: Any, rank: int, generator: Any) -> Any:
    """W x + (α/r) B A x with W frozen, A random, B zero (Hu et al. 2022); α = 2 r. ``active`` turns it off."""
    torch = need("torch")

    class Adapted(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer
            self.active = True
            bound = 1.0 / math.sqrt(layer.in_features)
            self.down = torch.nn.Parameter((torch.rand(rank, layer.in_features, generator=generator) * 2 - 1) * bound)
            self.up = torch.nn.Parameter(torch.zeros(layer.out_features, rank))

        def forward(self, x: Tensor) -> Tensor:
            out = self.layer(x)
            return out + 2.0 * ((x @ self.down.T) @ self.up.T) if self.active else out

    return Adapted()


class LanguagePolicy:
    """Writes a text for each context. The reference is the same model with its adapters off: no second copy."""

    def __init__(self, generator: Generator, contexts: Sequence[str], *, rank: int = 8, seed: int = 0) -> None:
        torch = need("torch")
        self.generator = generator
        self._prompts = [generator.prompt(context) for context in contexts]
        model = generator.model.eval().requires_grad_(False)
        draw = torch.Generator().manual_seed(seed)
        self._adapters: dict[str, Any] = {}
        self._active = True
        for name, module in list(model.named_modules()):
            if name.rsplit(".", 1)[-1] in _ADAPTED and isinstance(module, torch.nn.Linear):
                parent = model.get_submodule(name.rpartition(".")[0])
                self._adapters[name] = lora(module, rank, draw)
                setattr(parent, name.rsplit(".", 1)[-1], self._adapters[name])
        self.rank = rank
        self.value = torch.nn.Parameter(torch.zeros(model.config.hidden_size + 1))

    def sample(self, prompts: Sequence[int], seed: int) -> Rollout:
        torch, made = need("torch"), self.generator
        given, mask = self._left_padded(prompts)
        draw = torch.Generator().manual_seed(seed)
        tokens, alive = [], torch.ones(len(prompts), dtype=torch.bool)
        masks: list[Tensor] = []
        cache, fed, seen = None, given, mask
        with torch.inference_mode():
            for _ in range(made.most_text):
                places = (seen.cumsum(1) - 1).clamp(min=0)[:, -fed.shape[1] :]
                out = made.model(
                    input_ids=fed, attention_mask=seen, position_ids=places, past_key_values=cache,
                    use_cache=True, logits_to_keep=1,
                )  # fmt: skip
                cache = out.past_key_values
                token = torch.multinomial(self._log(out.logits[:, -1]).exp(), 1, generator=draw)[:, 0]
                token = torch.where(alive, token, torch.full_like(token, made.end))
                tokens.append(token)
                masks.append(alive.float())
                alive = alive & (token != made.end)
                if not alive.any():
                    break
                fed = token[:, None]
                seen = torch.cat([seen, torch.ones_like(seen[:, :1])], 1)
        written, wrote = torch.stack(tokens, 1).clone(), torch.stack(masks, 1).clone()
        texts = []
        for row, kept, cut in zip(written.tolist(), wrote.sum(1).int().tolist(), alive.tolist(), strict=True):
            texts.append(made.decode([t for t in row[:kept] if t != made.end]) + (CUT if cut else ""))
        state = {"prompt": given, "prompt_mask": mask, "tokens": written}
        return Rollout(tuple(texts), tuple(prompts), wrote, state)

    def rollout_of(self, texts: Sequence[str], prompts: Sequence[int]) -> Rollout:
        """Texts written elsewhere, as if this policy had written them."""
        torch, made = need("torch"), self.generator
        rows = [[*made.encode(text)[: made.most_text - 1], made.end] for text in texts]
        longest = max(len(row) for row in rows)
        tokens = torch.full((len(rows), longest), made.end, dtype=torch.long)
        wrote = torch.zeros((len(rows), longest))
        for place, row in enumerate(rows):
            tokens[place, : len(row)] = torch.tensor(row)
            wrote[place, : len(row)] = 1.0
        given, mask = self._left_padded(prompts)
        return Rollout(tuple(texts), tuple(prompts), wrote, {"prompt": given, "prompt_mask": mask, "tokens": tokens})

    def read(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
        hidden, log = self._forward(rollout)
        logp = log.gather(-1, rollout.state["tokens"][..., None])[..., 0]
        entropy = -(log.exp() * log.clamp(min=-50.0)).sum(-1)
        return logp, entropy, hidden @ self.value[:-1] + self.value[-1]

    def read_reference(self, rollout: Rollout) -> Tensor:
        with need("torch").no_grad(), self.reference():
            _, log = self._forward(rollout)
        return log.gather(-1, rollout.state["tokens"][..., None])[..., 0]

    def parameters(self) -> dict[str, Tensor]:
        found = {"value": self.value}
        for name, adapter in self._adapters.items():
            found |= {f"{name}.down": adapter.down, f"{name}.up": adapter.up}
        return found

    @contextmanager
    def reference(self) -> Iterator[None]:
        """The model as it was before any of this, while the context lasts."""
        before = self._active
        self._turn(on=False)
        try:
            yield
        finally:
            self._turn(on=before)

    def _turn(self, *, on: bool) -> None:
        self._active = on
        for adapter in self._adapters.values():
            adapter.active = on

    def learned(self) -> dict[str, Any] | None:
        """The numbers of :meth:`parameters`, not copied; None within :meth:`reference`."""
        if not self._active:
            return None
        return {name: tensor.detach().numpy() for name, tensor in self.parameters().items()}

    def take(self, learned: Mapping[str, Any]) -> None:
        """Write with what :meth:`learned` gave, here or in another process."""
        torch = need("torch")
        with torch.no_grad():
            for name, parameter in self.parameters().items():
                parameter.copy_(torch.from_numpy(np.require(learned[name], requirements="W")))

    def join(self, parts: Sequence[Rollout]) -> Rollout:
        """Texts of several samples as those of one, padded to the longest."""
        torch = need("torch")

        def joined(tensors: Sequence[Tensor], fill: float, *, left: bool = False) -> Tensor:
            longest = max(tensor.shape[1] for tensor in tensors)
            missing = [longest - tensor.shape[1] for tensor in tensors]
            pads = [(short, 0) if left else (0, short) for short in missing]
            padded = [torch.nn.functional.pad(one, pad, value=fill) for one, pad in zip(tensors, pads, strict=True)]
            return torch.cat(padded)

        end = self.generator.end
        state = {
            "prompt": joined([part.state["prompt"] for part in parts], end, left=True),
            "prompt_mask": joined([part.state["prompt_mask"] for part in parts], 0, left=True),
            "tokens": joined([part.state["tokens"] for part in parts], end),
        }
        return Rollout(
            tuple(text for part in parts for text in part.texts),
            tuple(prompt for part in parts for prompt in part.prompts),
            joined([part.mask for part in parts], 0.0),
            state,
        )

    def save_adapter(self, folder: Path) -> None:
        """Only what was learned: ``adapter.safetensors`` and its rank."""
        tensors = {name: tensor.detach().numpy() for name, tensor in self.parameters().items()}
        save_tensors(folder / "adapter.safetensors", tensors)
        write_whole(folder / "adapter.json", json.dumps({"format": 1, "rank": self.rank}).encode())

    def load_adapter(self, folder: Path) -> None:
        """Put what :meth:`save_adapter` wrote in place, between two batches: nothing restarts.

        Raises:
            ModelFileError: it is of another model.
        """
        torch, tensors = need("torch"), load_tensors(folder / "adapter.safetensors")
        parameters = self.parameters()
        if {n: tuple(t.shape) for n, t in parameters.items()} != {n: t.shape for n, t in tensors.items()}:
            raise ModelFileError(
                f"{folder} is an adapter of another model", field="adapter", mend="load it on its base"
            )
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(torch.from_numpy(tensors[name]))

    def _forward(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Hidden state before each token written, and log probabilities over the vocabulary there."""
        torch, state = need("torch"), rollout.state
        whole = torch.cat([state["prompt"], state["tokens"]], 1)
        mask = torch.cat([state["prompt_mask"], rollout.mask.long()], 1)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.generator.model.base_model(
            input_ids=whole, attention_mask=mask, position_ids=places, use_cache=False
        ).last_hidden_state
        first = state["prompt"].shape[1] - 1
        hidden = out[:, first : first + state["tokens"].shape[1]]
        return hidden, self._log(self.generator.model.get_output_embeddings()(hidden))

    def _log(self, logits: Tensor) -> Tensor:
        """Log probabilities; the two marks that never stand inside a text have none."""
        logits = logits.float().clone()
        for mark in {self.generator.begin, self.generator.turn} - {self.generator.end}:
            logits[..., mark] = -1e9
        return logits.log_softmax(-1)

    def _left_padded(self, prompts: Sequence[int]) -> tuple[Tensor, Tensor]:
        torch = need("torch")
        rows = [self._prompts[i] for i in prompts]
        longest = max(len(row) for row in rows)
        given = torch.full((len(rows), longest), self.generator.end, dtype=torch.long)
        mask = torch.zeros((len(rows), longest), dtype=torch.long)
        for place, row in enumerate(rows):
            given[place, longest - len(row) :] = torch.tensor(row)
            mask[place, longest - len(row) :] = 1
        return given, mask
