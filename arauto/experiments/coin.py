"""Is a rate harmed? Bets on the coin, given what each visitor did.

Under "no difference" the coin of a visitor who bought fell as that of one who did not: treated with the known chance e.
Were the treated rate p(1 + δ) in place of p, a buyer's coin would fall with the odds of e times 1 + δ, another's with
the odds of e times (1 − p(1 + δ))/(1 − p). The ratio of the two likelihoods, multiplied over visitors, is a fair bet
against "no difference" for every fixed δ and p, whatever the rates do over time, at any size of sample; so is the
weighted mean over many δ (:mod:`arauto.experiments.mixture`). It grows as fast as a test can that knows p, where the
sub-Gaussian bets of :mod:`arauto.experiments.comparison`, which suit any outcome, need a tenth to a fifth more.

For p the pooled rate of both arms is taken at the time of looking. It does not know the arms, and hardly moves once
there is something to bet on; the tests hold the whole to its promise.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError
from arauto.experiments.mixture import Prior

Floats = NDArray[np.float64]

CHECK_AT = 45.0
"""The one early look (:func:`early_look`) comes when so many successes of the treatment were to be expected."""


class Trials(NamedTuple):
    """Visitors and successes by block of one share, control first.

    ``share`` is (B,), the treatment's probability; ``n`` and ``k`` are (..., B, 2).
    """

    share: Floats
    n: Floats
    k: Floats


def coin_evidence(trials: Trials, side: Literal["greater", "less"], prior: Prior) -> Floats:
    """The logarithmic e-value against "the treated rate is the control's", betting on more or on less; shape (...,).

    Raises:
        InputError: a share is not between 0 and 1, or there are more successes than visitors.
    """
    e, n, k = _checked(trials)
    sizes = prior.sizes()
    seen, hits = n.sum(axis=(-1, -2)), k.sum(axis=(-1, -2))
    p = np.divide(hits, seen, out=np.zeros_like(seen), where=seen > 0.0)[..., None]
    # Nobody has a rate below 0 or above 1: bets beyond that are laid on almost that.
    tilt = np.maximum(1.0 - sizes, 0.02) if side == "less" else np.minimum(1.0 + sizes, 0.98 / np.maximum(p, 1e-9))
    tilt = np.broadcast_to(np.maximum(tilt, 1.0) if side == "greater" else tilt, (*p.shape[:-1], sizes.size))
    rest = np.maximum((1.0 - p * tilt) / np.maximum(1.0 - p, 1e-9), 1e-9)
    found = prior.stakes()
    for outcome, odds in ((k, tilt), (n - k, rest)):
        treated, all_of = outcome[..., 1].sum(axis=-1)[..., None], outcome.sum(axis=-1)
        cost = (all_of[..., :, None] * np.log1p(e[:, None] * (odds[..., None, :] - 1.0))).sum(axis=-2)
        found = found + treated * np.log(odds) - cost
    top = found.max(axis=-1)
    return np.asarray(top + np.log(np.exp(found - top[..., None]).sum(axis=-1)))


def early_look(trials: Trials, side: Literal["greater", "less"]) -> float | None:
    """The p-value of "no difference" at one look, or None while fewer than :data:`CHECK_AT` treated successes are due.

    Given who succeeded, the treated successes are a sum of coins with mean μ = Σ e·k; its tails lie within Poisson's
    (Hoeffding 1956, theorem 5), so the value holds at any size. For ONE look, the first at which it is given.
    """
    e, _, k = _checked(trials)
    due, seen = float((e * k.sum(axis=-1)).sum()), int(k[..., 1].sum())
    if due < CHECK_AT:
        return None
    # Within one of the mean Hoeffding does not order the two.
    if abs(seen - due) < 1.0 or (seen > due) is (side == "less"):
        return 1.0
    return _poisson_tail(seen, due)


def _poisson_tail(count: int, mean: float) -> float:
    """P(N ≤ count) for N of Poisson's law when the count is below its mean, else P(N ≥ count)."""
    term = total = math.exp(count * math.log(mean) - mean - math.lgamma(count + 1.0))
    while term > 1e-17 * total and count >= 0:
        term *= count / mean if count < mean else mean / (count + 1.0)
        count += -1 if count < mean else 1
        total += term
    return min(1.0, total)


def _checked(trials: Trials) -> tuple[Floats, Floats, Floats]:
    e, n, k = (np.asarray(part, np.float64) for part in trials)
    if e.ndim != 1 or np.any(e <= 0.0) or np.any(e >= 1.0):
        raise InputError(
            "is not between 0 and 1", field="share", mend="leave out blocks in which one arm had no chance"
        )
    if n.shape != k.shape or n.shape[-2:] != (e.size, 2) or np.any(k < 0.0) or np.any(k > n):
        raise InputError("do not fit", field="k", mend="give (blocks, 2) counts, control first, 0 ≤ k ≤ n")
    return e, n, k
