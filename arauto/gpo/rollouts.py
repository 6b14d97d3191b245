"""Texts written in parts, each with a seed of its own: in this process or on Ray, the same texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from arauto.core.spread import Spread, never
from arauto.gpo.ppo import Rollout
from arauto.gpo.writer import LanguagePolicy

Tensor = Any


class _Part(NamedTuple):
    """``learned`` are the adapters' numbers now; None: the reference writes."""

    learned: dict[str, Any] | None
    prompts: Sequence[int]
    seed: int


def _write(policy: LanguagePolicy, part: _Part) -> Rollout:
    if part.learned is None:
        with policy.reference():
            return policy.sample(part.prompts, part.seed)
    policy.take(part.learned)
    return policy.sample(part.prompts, part.seed)


def write(
    policy: LanguagePolicy,
    batches: Sequence[tuple[Sequence[int], int]],
    ray: str = "",
    *,
    stopped: Callable[[], bool] = never,
) -> list[Rollout]:
    """The policy's texts for each (prompts, seed); ``ray`` is the setting ``ray_address``: where they are written."""
    return _written(Spread(_write, policy, ray), policy, batches, stopped)


def _written(
    spread: Spread[LanguagePolicy, _Part, Rollout],
    policy: LanguagePolicy,
    batches: Sequence[tuple[Sequence[int], int]],
    stopped: Callable[[], bool],
) -> list[Rollout]:
    learned = policy.learned()
    return list(spread([_Part(learned, prompts, seed) for prompts, seed in batches], stopped=stopped))


class Apart:
    """A policy whose batches are written in so many ``parts``. What comes of a seed depends on their number, not on
    where they are written. A worker gets the model once, then what was learned with each part."""

    def __init__(
        self, policy: LanguagePolicy, parts: int, ray: str = "", *, stopped: Callable[[], bool] = never
    ) -> None:
        self.policy, self._parts, self._stopped = policy, parts, stopped
        self._spread = Spread(_write, policy, ray)

    def sample(self, prompts: Sequence[int], seed: int) -> Rollout:
        size = -(-len(prompts) // self._parts)
        batches = [
            (prompts[at : at + size], int(np.random.default_rng([seed, at]).integers(2**31)))
            for at in range(0, len(prompts), size)
        ]
        return self.policy.join(_written(self._spread, self.policy, batches, self._stopped))

    def read(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
        return self.policy.read(rollout)

    def read_reference(self, rollout: Rollout) -> Tensor:
        return self.policy.read_reference(rollout)

    def parameters(self) -> dict[str, Tensor]:
        return self.policy.parameters()
