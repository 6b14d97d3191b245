"""What a text earns: the reward model's cautious score, less the price of a broken rule; truth where it is bought."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from arauto.gpo.ppo import Rewards
from arauto.gpo.reward import RewardModel
from arauto.gpo.table import Floats
from arauto.gpo.writer import CUT

Gold = Callable[[Sequence[str]], Floats]
"""What texts really earn: paid exposures, or a gold model in a simulation. Same unit as the reward model's scores."""


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hard limits of a text. ``forbidden`` are regular expressions of the operator, matched without case."""

    least_characters: Annotated[int, Meta(ge=0)] = 15
    most_characters: Annotated[int, Meta(ge=1)] = 130
    forbidden: tuple[str, ...] = ()
    price: Annotated[float, Meta(ge=0)] = 1.0
    """Log rate lost by a text that breaks a rule: more than any text can gain."""


def violates(text: str, rules: Rules) -> bool:
    """Whether ``text`` breaks a rule: cut, too short or long, a forbidden pattern, a word three times in a row."""
    if text.endswith(CUT) or not rules.least_characters <= len(text) <= rules.most_characters:
        return True
    words = text.lower().split()
    if any(a == b == c for a, b, c in zip(words, words[1:], words[2:], strict=False)):
        return True
    return any(re.search(pattern, text, re.IGNORECASE) for pattern in rules.forbidden)


class Objective:
    """The judge of a run: only texts reach it, so a prompt cannot talk to it.

    ``caution`` are spreads between the reward's heads taken off the mean. ``audited`` is the share of each batch whose
    truth ``gold`` tells; (seed, iteration) draws which.
    """

    def __init__(
        self,
        reward: RewardModel,
        rules: Rules | None = None,
        *,
        caution: float = 1.0,
        gold: Gold | None = None,
        audited: float = 0.05,
        seed: int = 0,
    ) -> None:
        self._reward = reward
        self._rules = rules or Rules()
        self._caution = caution
        self._gold = gold
        self._audited = audited
        self._seed = seed

    def __call__(self, texts: Sequence[str], prompts: Sequence[int], iteration: int) -> Rewards:
        del prompts  # only the text is paid for
        clean = [text.removesuffix(CUT) or " " for text in texts]
        scores = self._reward.score(clean)
        broken = np.array([violates(text, self._rules) for text in texts], dtype=np.float64)
        truth = np.full(len(texts), np.nan)
        if self._gold is not None:
            count = max(2, round(self._audited * len(texts)))
            chosen = np.random.default_rng([self._seed, 11, iteration]).choice(len(texts), count, replace=False)
            truth[chosen] = self._gold([clean[i] for i in chosen]) - self._rules.price * broken[chosen]
        return Rewards(scores.lower(self._caution) - self._rules.price * broken, scores.spread, broken, truth)


def best_of(scores: Floats, n: int) -> list[int]:
    """Of each ``n`` neighbours the place of the one that scores highest: plain best-of-n, the baseline to beat."""
    rows = np.asarray(scores).reshape(-1, n)
    return [int(i) for i in rows.argmax(axis=1) + np.arange(len(rows)) * n]
