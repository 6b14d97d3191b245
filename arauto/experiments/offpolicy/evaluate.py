"""One answer from many estimators: chosen by a rule, with an interval, or none at all when the log cannot tell."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arauto.core.brief import Language
from arauto.core.i18n import number, percent, say
from arauto.experiments.intervals import LEVEL, Interval
from arauto.experiments.offpolicy.estimators import Terms, dm, dr, dros, ips, mrdr, sndr, snips, switch
from arauto.experiments.offpolicy.log import Log, Overlap, overlap_of
from arauto.experiments.offpolicy.reward import cross_fit

Floats = NDArray[np.float64]

LEAST_EFFECTIVE = 100.0
MOST_UNSUPPORTED = 0.05
MOST_CARRIED = 0.2
"""Above this share of all weight on one visitor, or mass without support, or below the effective size: no answer."""

SHRINKAGES = (0.0, 0.1, 1.0, 10.0, 100.0, 1000.0, math.inf)
_RESAMPLES = 1000


class OffPolicyEstimate(NamedTuple):
    """The value of the new policy. ``value`` and ``interval`` are None when ``abstains`` says why.

    ``estimates`` holds every estimator's value with its own bootstrap interval, for inspection, even then. ``baseline``
    is the logging policy's own mean.
    """

    value: float | None
    interval: Interval | None
    chosen: str
    abstains: str
    overlap: Overlap
    baseline: float
    estimates: dict[str, tuple[float, Interval]]


def evaluate_policy(log: Log, rng: np.random.Generator, *, level: float = LEVEL) -> OffPolicyEstimate:
    """Estimate the target policy's value, or abstain.

    The point is of the DRos family, whose λ runs from the direct method (least variance) to doubly robust (least bias):
    the member with the least estimated mean squared error (as Su et al. 2020 tune λ, with bias measured against doubly
    robust as in MAGIC: Thomas & Brunskill 2016). The interval is doubly robust's, by cluster bootstrap over visitors,
    never narrower than its standard error allows, stretched to hold the point: it does not trust the reward model.
    """
    q = cross_fit(log, rng)
    shrinkage = choose(log, q)
    named = {
        "dm": dm(log, q),
        "ips": ips(log),
        "snips": snips(log),
        "dr": dr(log, q),
        "sndr": sndr(log, q),
        "dros": dros(log, q, shrinkage),
        "switch": switch(log, q, _threshold(log)),
        "mrdr": mrdr(log, rng),
    }
    draws = bootstrap(list(named.values()), log, rng)
    tail = (1.0 - level) / 2.0
    estimates = {
        name: (terms.value, Interval(*(float(end) for end in np.quantile(draws[:, column], [tail, 1.0 - tail]))))
        for column, (name, terms) in enumerate(named.items())
    }
    support = overlap_of(log)
    reason = abstention(support)
    value = estimates["dros"][0]
    centre, (low, high) = estimates["dr"]
    reach = NormalDist().inv_cdf(1.0 - tail) * standard_error(named["dr"], log)
    return OffPolicyEstimate(
        value=None if reason else value,
        interval=None if reason else Interval(min(low, centre - reach, value), max(high, centre + reach, value)),
        chosen=f"dros λ={shrinkage:g}",
        abstains=reason,
        overlap=support,
        baseline=float(log.rewards.mean()),
        estimates=estimates,
    )


def abstention(support: Overlap, language: Language = "en") -> str:
    """Why the log cannot tell, in words; empty when it can."""
    if support.effective < LEAST_EFFECTIVE:
        return say(
            "ope.few",
            language,
            effective=number(support.effective, language, 1),
            least=number(LEAST_EFFECTIVE, language),
        )
    if support.unsupported > MOST_UNSUPPORTED:
        return say("ope.unsupported", language, share=percent(support.unsupported, language, 0))
    if support.top_share > MOST_CARRIED:
        return say("ope.carried", language, share=percent(support.top_share, language, 0))
    if support.rewarded < 10:
        return say("ope.unrewarded", language, rewarded=support.rewarded)
    if abs(support.mean_weight - 1.0) > max(4.0 * support.mean_weight_error, 0.01):
        return say("ope.weights", language, mean=number(support.mean_weight, language, 3))
    return ""


def choose(log: Log, q: Floats) -> float:
    """The λ of the DRos family with the least estimated mean squared error; ∞ is doubly robust.

    Bias² is the squared distance from doubly robust, less what chance alone makes of that distance.
    """
    anchor = dr(log, q)
    errors = []
    for shrinkage in SHRINKAGES:
        terms = dros(log, q, shrinkage)
        # The distance is a sum over the same rows, so its error is much less than the two errors together.
        gap = np.sqrt(anchor.spread) - np.sqrt(terms.spread)
        apart = Terms(anchor.num - terms.num, anchor.den, gap**2)
        bias2 = max(0.0, apart.value**2 - standard_error(apart, log) ** 2)
        errors.append(bias2 + standard_error(terms, log) ** 2)
    return SHRINKAGES[int(np.argmin(errors))]


def standard_error(terms: Terms, log: Log) -> float:
    """The linearised standard error, rows of a visitor together: as realised or as expected, whichever is greater."""
    residual = np.bincount(log.clusters, weights=terms.num - terms.value * terms.den)
    return float(np.sqrt(max((residual**2).sum(), terms.spread.sum())) / terms.den.sum())


def bootstrap(terms: list[Terms], log: Log, rng: np.random.Generator, resamples: int = _RESAMPLES) -> Floats:
    """(resamples, estimators): each value on visitors drawn with replacement."""
    columns = [np.bincount(log.clusters, weights=side) for one in terms for side in (one.num, one.den)]
    sums = np.stack(columns, axis=1)
    visitors = sums.shape[0]
    drawn = np.empty((resamples, sums.shape[1]))
    for row in range(resamples):
        drawn[row] = np.bincount(rng.integers(0, visitors, visitors), minlength=visitors) @ sums
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(drawn[:, 0::2] / drawn[:, 1::2])


def _threshold(log: Log) -> float:
    """Switch's τ: the weights' 95th percentile by mass of weight, the usual "trust all but the wildest"."""
    w = np.sort(log.weights)
    mass = w.cumsum()
    return float(w[np.searchsorted(mass, 0.95 * mass[-1])]) if mass[-1] > 0.0 else 1.0
