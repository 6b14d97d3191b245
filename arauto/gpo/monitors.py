"""What is watched while a policy is optimised, and when to stop: a proxy maximised long enough stops being true.

No cheap statistic tells cheating from learning, so truth is bought: a few texts of each batch, drawn at random, get the
reward that they really earn. Two questions are then asked of the audits of the last iterations.

*Does truth still follow the proxy?* A policy-gradient step moves the mean of any quantity by its covariance with what
is rewarded (Price 1970). While audited truth and proxy correlate, the next step does good; as the correlation melts
away the peak is near. So this speaks before the fall, not after it.

*Has truth fallen?* The batch's mean proxy plus the mean audited gap (truth less proxy) estimates the mean truth with
little noise; it is compared with the best that it has been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from arauto.gpo.table import Floats

if TYPE_CHECKING:
    from arauto.gpo.ppo import Rewards


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one iteration. ``reward`` with its standard error; ``kl`` in nats a text, ``length`` in tokens;
    ``diversity`` is the share of distinct word pairs; ``disagreement`` the mean spread between the reward's heads;
    ``audits`` are (proxy, truth) of each text whose truth was bought."""

    iteration: int
    reward: float
    reward_error: float
    kl: float
    beta: float
    clip_fraction: float
    entropy: float
    length: float
    diversity: float
    value_loss: float
    disagreement: float
    violations: float
    audits: list[tuple[float, float]]

    @classmethod
    def of(
        cls,
        iteration: int,
        texts: Sequence[str],
        earned: Rewards,
        *,
        kl: float,
        beta: float,
        clip_fraction: float,
        value_loss: float,
        entropy: float,
        length: float,
    ) -> Reading:
        """The reading of a batch."""
        bought = np.isfinite(earned.gold)
        return cls(
            iteration=iteration,
            reward=float(earned.score.mean()),
            reward_error=float(earned.score.std() / math.sqrt(earned.score.size)),
            kl=kl,
            beta=beta,
            clip_fraction=clip_fraction,
            entropy=entropy,
            length=length,
            diversity=diversity(texts),
            value_loss=value_loss,
            disagreement=float(earned.doubt.mean()),
            violations=float(earned.violations.mean()),
            audits=list(zip(earned.score[bought].tolist(), earned.gold[bought].tolist(), strict=True)),
        )


class StopRule(msgspec.Struct, frozen=True, kw_only=True):
    """When to stop. ``window`` (for a fall of truth) and ``warm_up`` are iterations."""

    window: int = 10
    warm_up: int = 5
    audits: int = 125
    """The correlation of truth and proxy is that of so many audits: of the fewest last iterations that hold them."""
    follows_least: float = 1.0
    """Standard errors above zero that this correlation has to keep."""
    follows_share: float = 0.35
    """The same, as a share of the highest that it has been in this run. Set on other exploits than those reported."""
    fallen_z: float = 5.0
    """Estimated truth is so many standard errors below its best."""
    kl_most: float = 40.0
    diversity_least: float = 0.35
    """Share of the first iteration's diversity."""
    disagreement_most: float = 3.0
    """Times the first iterations' disagreement."""
    violations_most: float = 0.05
    """Share of texts that break a rule, above the first iteration's."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Why a run was stopped: ``rule`` for programs, ``reason`` for people."""

    rule: str
    iteration: int
    reason: str


class Monitor:
    """Keeps the readings of a run and judges them."""

    def __init__(self, rule: StopRule | None = None) -> None:
        self.rule = rule or StopRule()
        self.readings: list[Reading] = []
        self._follows: list[float | None] = []

    def observe(self, reading: Reading) -> None:
        """Take note of the next iteration."""
        self.readings.append(reading)

    def verdict(self) -> Verdict | None:
        """The first rule that is broken now; None while all hold."""
        if len(self.readings) <= 1:
            return None
        now, first, rule = self.readings[-1], self.readings[0], self.rule
        turned, fallen = self.suspicions()
        base = float(np.mean([r.disagreement for r in self.readings[:3]]))
        checks = (
            (turned >= 1.0, "truth_turned", "what is really earned no longer follows what the proxy pays for"),
            (fallen >= 1.0, "truth_fell", "what is really earned has fallen from its best"),
            (
                now.kl > rule.kl_most,
                "kl",
                f"the policy is {now.kl:.1f} nats from its reference; {rule.kl_most:.0f} are allowed",
            ),
            (
                now.diversity < rule.diversity_least * first.diversity,
                "diversity",
                f"texts repeat themselves: diversity {now.diversity:.2f}, at first {first.diversity:.2f}",
            ),
            (
                base > 0.0 and now.disagreement > rule.disagreement_most * base,
                "disagreement",
                f"the reward's heads disagree {now.disagreement / max(base, 1e-12):.1f} times as much as at first",
            ),
            (
                now.violations > first.violations + rule.violations_most,
                "violations",
                f"{now.violations:.1%} of the texts break a rule; {first.violations:.1%} did at first",
            ),
        )
        for broken, name, reason in checks:
            if broken:
                return Verdict(rule=name, iteration=now.iteration, reason=reason)
        return None

    def suspicions(self) -> tuple[float, float]:
        """How near "truth no longer follows" and "truth has fallen" are, 1 being the limit; 0 while warming up."""
        if len(self.readings) < self.rule.warm_up or not any(r.audits for r in self.readings):
            return 0.0, 0.0
        rule, last = self.rule, len(self.readings)
        for end in range(len(self._follows) + 1, last + 1):
            self._follows.append(follows(self.readings[:end], rule.audits))
        known = [each for each in self._follows if each is not None]
        fell = fallen_z(self.readings, rule.window) / rule.fallen_z
        if not known:
            return 0.0, fell
        least = max(rule.follows_least / math.sqrt(rule.audits), rule.follows_share * max(known))
        return least / max(known[-1], 1e-3), fell

    def best(self) -> int:
        """The iteration with the highest estimated truth; by the proxy where no truth was bought."""
        if not self.readings:
            return -1
        means, _ = truth(self.readings, self.rule.window)
        return self.readings[int(np.argmax(means))].iteration


def follows(readings: Sequence[Reading], audits: int) -> float | None:
    """Correlation of proxy and truth over the last ``audits`` audits, each centred within its own iteration; None while
    there are fewer."""
    count, parts = 0, []
    for reading in reversed(readings):
        if len(reading.audits) > 1:
            pairs = np.array(reading.audits)
            parts.append(pairs - pairs.mean(axis=0))
            count += len(pairs)
        if count >= audits:
            both = np.concatenate(parts)
            spread = math.sqrt(float((both[:, 0] ** 2).sum() * (both[:, 1] ** 2).sum()))
            return float((both[:, 0] * both[:, 1]).sum()) / spread if spread > 0.0 else 0.0
    return None


def truth(readings: Sequence[Reading], window: int) -> tuple[Floats, Floats]:
    """Estimated mean truth of each iteration and its standard error: its mean proxy plus the mean gap of the audits of
    the ``window`` iterations up to it."""
    proxy = np.array([r.reward for r in readings])
    gaps = [np.array([g - p for p, g in r.audits]) for r in readings]
    means, errors = proxy.copy(), np.zeros(len(readings))
    for i in range(len(readings)):
        near = np.concatenate(gaps[max(0, i - window + 1) : i + 1])
        if near.size > 1:
            means[i] += near.mean()
            errors[i] = math.hypot(near.std(ddof=1) / math.sqrt(near.size), readings[i].reward_error)
    return means, errors


def fallen_z(readings: Sequence[Reading], window: int) -> float:
    """Standard errors by which estimated truth lies below its best before; 0 without audits."""
    if len(readings) <= window:
        return 0.0
    means, errors = truth(readings, window)
    if not errors[-1]:
        return 0.0
    best = int(np.argmax(means))
    return float((means[best] - means[-1]) / math.hypot(errors[best], errors[-1]))


def diversity(texts: Sequence[str]) -> float:
    """Share of distinct word pairs among all of a batch (distinct-2, Li et al. 2016)."""
    pairs = [pair for text in texts for pair in pairwise(text.split())]
    return len(set(pairs)) / len(pairs) if pairs else 0.0
