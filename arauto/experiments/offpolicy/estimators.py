"""What would the new policy have earned? Estimators of its value from another policy's log.

Each is a ratio Σnum/Σden of terms by row, so that one bootstrap serves all. w is the importance weight, q(x, a) the
reward model, V(x) = Σ_a π_e(a|x) q(x, a).

| name | terms | source |
|---|---|---|
| dm | V(x) | |
| ips | w r | Horvitz & Thompson 1952 |
| snips | w r / w | Swaminathan & Joachims 2015 |
| dr | V(x) + w (r − q) | Dudík, Langford & Li 2011 |
| sndr | V(x) + w (r − q) / w̄ | |
| dros | V(x) + λw/(w² + λ) (r − q) | Su, Dimakopoulou, Krishnamurthy & Dudík 2020 |
| switch | V(x) + w 1[w ≤ τ] (r − q) | Wang, Agarwal & Dudík 2017 |
| mrdr | dr with q fitted for the least variance | Farajtabar, Chow & Ghavamzadeh 2018 |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arauto.experiments.offpolicy.log import Log
from arauto.experiments.offpolicy.reward import cross_fit

Floats = NDArray[np.float64]


class Terms(NamedTuple):
    """The value is Σnum/Σden. ``spread`` is the variance of ``num`` that the reward model expects of each row.

    Rewards are rare: a log whose heaviest rows happened to earn nothing looks surer than it is.
    """

    num: Floats
    den: Floats
    spread: Floats

    @property
    def value(self) -> float:
        return float(self.num.sum() / self.den.sum()) if self.den.sum() else float("nan")


def dm(log: Log, q: Floats) -> Terms:
    """The direct method: what the reward model says."""
    return Terms((log.target * q).sum(axis=1), np.ones(log.arms.size), np.zeros(log.arms.size))


def ips(log: Log) -> Terms:
    """Inverse propensity scoring: unbiased, and wild when weights are."""
    return Terms(log.weights * log.rewards, np.ones(log.arms.size), np.zeros(log.arms.size))


def snips(log: Log) -> Terms:
    """Self-normalised: divided by the weights' sum instead of n."""
    w = log.weights
    return Terms(w * log.rewards, w, np.zeros(w.size))


def dros(log: Log, q: Floats, shrinkage: float) -> Terms:
    """Doubly robust with optimistic shrinkage: λ = 0 is the direct method, λ = ∞ doubly robust."""
    w = log.weights
    if np.isinf(shrinkage):
        return _corrected(log, q, w)
    denominator = w * w + shrinkage
    return _corrected(log, q, np.divide(shrinkage * w, denominator, out=np.zeros_like(w), where=denominator > 0.0))


def dr(log: Log, q: Floats) -> Terms:
    """Doubly robust: right when either the propensities or the reward model is."""
    return _corrected(log, q, log.weights)


def sndr(log: Log, q: Floats) -> Terms:
    """Doubly robust with its correction self-normalised."""
    w = log.weights
    return _corrected(log, q, w / max(w.mean(), 1e-300))


def switch(log: Log, q: Floats, threshold: float) -> Terms:
    """Doubly robust where the weight is at most ``threshold``, the direct method elsewhere."""
    w = log.weights
    return _corrected(log, q, np.where(w <= threshold, w, 0.0))


def mrdr(log: Log, rng: np.random.Generator) -> Terms:
    """More robust doubly robust: the reward model is fitted where its errors would cost the most variance."""
    w = log.weights
    return dr(log, cross_fit(log, rng, w * w * (1.0 - log.propensities) + 1e-6))


def reward_variance(log: Log, q: Floats) -> Floats:
    """Of each row's reward under the model: q(1 − q) for binary rewards, else the residuals' mean square."""
    shown = q[np.arange(log.arms.size), log.arms]
    if np.all((log.rewards == 0.0) | (log.rewards == 1.0)):
        return np.asarray(shown * (1.0 - shown))
    return np.full(shown.size, np.mean((log.rewards - shown) ** 2))


def _corrected(log: Log, q: Floats, weights: Floats) -> Terms:
    residual = log.rewards - q[np.arange(log.arms.size), log.arms]
    value = (log.target * q).sum(axis=1) + weights * residual
    return Terms(value, np.ones(residual.size), weights**2 * reward_variance(log, q))
