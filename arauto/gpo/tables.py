"""The smallest policy that writes: its next token depends on its last. For exact checks and for hacking drills."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from arauto.gpo.extras import need
from arauto.gpo.ppo import Rollout

Tensor = Any


class TablePolicy:
    """Texts of ``length`` tokens out of ``vocabulary`` words: π(a_t | a_{t-1}, prompt), each a table of logits."""

    def __init__(self, vocabulary: int, length: int, *, prompts: int = 1, words: Sequence[str] = ()) -> None:
        torch = need("torch")
        self.words = tuple(words) or tuple(f"w{i}" for i in range(vocabulary))
        self.length = length
        self.logits = torch.zeros(prompts, vocabulary + 1, vocabulary, requires_grad=True)
        self.values = torch.zeros(prompts, length, vocabulary + 1, requires_grad=True)

    def sample(self, prompts: Sequence[int], seed: int) -> Rollout:
        torch = need("torch")
        draw = torch.Generator().manual_seed(seed)
        which = torch.tensor(prompts)
        last = torch.full_like(which, len(self.words))
        tokens = []
        for _ in range(self.length):
            last = torch.multinomial(self.logits[which, last].softmax(-1), 1, generator=draw)[:, 0]
            tokens.append(last)
        written = torch.stack(tokens, 1)
        texts = tuple(" ".join(self.words[i] for i in row) for row in written.tolist())
        mask = torch.ones(written.shape)
        return Rollout(texts, tuple(prompts), mask, {"tokens": written, "prompt": which})

    def read(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
        torch = need("torch")
        written, which = rollout.state["tokens"], rollout.state["prompt"]
        before = torch.cat([torch.full_like(written[:, :1], len(self.words)), written[:, :-1]], 1)
        log = self.logits[which[:, None], before].log_softmax(-1)
        places = torch.arange(self.length)[None]
        logp = log.gather(-1, written[..., None])[..., 0]
        return logp, -(log.exp() * log).sum(-1), self.values[which[:, None], places, before]

    def read_reference(self, rollout: Rollout) -> Tensor:
        """The reference writes every word equally often."""
        written = rollout.state["tokens"]
        return need("torch").full(written.shape, -need("math").log(len(self.words)))

    def parameters(self) -> dict[str, Tensor]:
        return {"logits": self.logits, "values": self.values}
