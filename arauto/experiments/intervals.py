"""What may be said of a rate, a mean or a quantile, and how surely.

A *confidence sequence* is a sequence of intervals that holds the truth at ALL times together with the stated
probability (Robbins 1970; Howard, Ramdas, McAuliffe & Sekhon 2021). So anyone may look as often as they like and stop
when they like; a fixed-horizon interval looked at daily is wrong far more often than it says. All of these but
:func:`wilson_interval` are sequences. They assume that the rate itself does not change while it is measured; that arms
are chosen by what was seen before (a bandit) does them no harm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

from arauto.core.errors import InputError

LEVEL = 0.95

_PRIOR = 0.5
"""Both parameters of the mixing Beta: Krichevsky & Trofimov's 1/2, at most ½·ln n + ln 2 worse than the best p."""
_TUNED_FOR = 100
"""The number of readings at which :func:`mean_sequence` is narrowest."""
_CONCENTRATION = 100.0
"""Strength of the Dirichlet that :func:`ratio_mismatch` mixes over: looks for shares some 0.5/√100 = 5 points off."""


class Interval(NamedTuple):
    """From ``low`` to ``high``, both included."""

    low: float
    high: float


class QuantileBuckets(NamedTuple):
    """The buckets of a histogram that hold a quantile and the ends of its interval; None: no bound on that side yet."""

    low: int | None
    at: int | None
    high: int | None


def wilson_interval(k: int, n: int, level: float = LEVEL) -> Interval:
    """The score interval of a rate with ``k`` successes in ``n`` trials, for ONE look at a fixed n (Wilson 1927)."""
    _check_counts(k, n, level)
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1.0 + level) / 2.0)
    rate, weight = k / n, z * z / n
    centre = (rate + weight / 2.0) / (1.0 + weight)
    half = z / (1.0 + weight) * math.sqrt(rate * (1.0 - rate) / n + weight / (4.0 * n))
    return Interval(0.0 if k == 0 else max(0.0, centre - half), 1.0 if k == n else min(1.0, centre + half))


def rate_sequence(k: int, n: int, level: float = LEVEL) -> Interval:
    """The always-valid confidence sequence of a rate, at ``k`` successes in ``n`` trials.

    For the true rate p the beta-binomial mixture M_n(p) = B(a+k, b+n−k) / (B(a, b) p^k (1−p)^(n−k)) is a nonnegative
    martingale that starts at 1, so by Ville's inequality it ever reaches 1/α with probability ≤ α. The interval is
    every p with M_n(p) < 1/α, α = 1 − ``level``, a = b = 1/2 (Robbins 1970; Howard et al. 2021, section 3).
    """
    _check_counts(k, n, level)
    if n == 0:
        return Interval(0.0, 1.0)
    mixture = _log_beta(_PRIOR + k, _PRIOR + n - k) - _log_beta(_PRIOR, _PRIOR)
    excess = mixture + math.log1p(-level)
    # ln M_n − ln(1/α) is excess − k·θ + n·ln(1 + e^θ) for θ = logit p. Where its straight part alone is zero, it is not
    # negative: there each search begins, outside of the interval.
    low = 0.0 if k == 0 else _logistic(_root(excess, k, n, excess / k))
    high = 1.0 if k == n else _logistic(_root(excess, k, n, -excess / (n - k)))
    return Interval(low, high)


def mean_sequence(total: float, n: int, low: float, high: float, level: float = LEVEL) -> Interval:
    """The always-valid confidence sequence of the mean of ``n`` readings from ``low`` to ``high``, of sum ``total``.

    Readings in [low, high] are sub-Gaussian with σ = (high − low)/2 (Hoeffding's lemma), so the two-sided normal
    mixture holds: |S_n − n·μ| < √((nσ² + ρ)·ln((nσ² + ρ)/(ρα²))) for all n (Howard et al. 2021, equation 14).
    """
    _check_counts(0, n, level)
    slack = 1e-9 * max(1.0, abs(total))
    if not n * low - slack <= total <= n * high + slack:
        raise InputError(f"is {total}", field="total", mend=f"give a sum of {n} readings from {low} to {high}")
    if n == 0:
        return Interval(low, high)
    alpha, variance = 1.0 - level, ((high - low) / 2.0) ** 2
    surprise = -2.0 * math.log(alpha)
    rho = _TUNED_FOR * variance / (surprise + math.log1p(surprise))
    clock = n * variance + rho
    half = math.sqrt(clock * (math.log(clock / rho) + surprise)) / n
    return Interval(max(low, total / n - half), min(high, total / n + half))


def quantile_interval(counts: Mapping[int, int], q: float, level: float = LEVEL) -> QuantileBuckets:
    """The always-valid confidence sequence of a quantile, from a histogram: bucket, in the readings' order → count.

    Whatever the distribution, the number of readings up to its q-quantile is a sum of Bernoulli(q) trials once ties are
    split at random. The martingale of :func:`rate_sequence` at p = q therefore bounds that number, for all n together,
    by ranks l and u, and the quantile lies between the l-th and the (u+1)-th smallest reading (compare Howard & Ramdas
    2022, who bound the same count). ``at`` is the bucket of the sample's own quantile, of rank ⌈q·n⌉.
    """
    if not 0.0 < q < 1.0:
        raise InputError(f"is {q}", field="q", mend="give a share between 0 and 1, such as 0.75")
    n = sum(counts.values())
    if any(count < 0 for count in counts.values()):
        raise InputError("holds a negative count", field="counts", mend="count readings")
    _check_counts(0, n, level)
    if n == 0:
        return QuantileBuckets(None, None, None)
    lowest, highest = _rank_bounds(n, q, level)
    return QuantileBuckets(
        _bucket_of(counts, lowest) if lowest >= 1 else None,
        _bucket_of(counts, max(1, math.ceil(q * n))),
        _bucket_of(counts, highest + 1) if highest < n else None,
    )


def ratio_mismatch(counts: Sequence[int], expected: Sequence[float]) -> float:
    """The always-valid p-value of a sample-ratio mismatch: were ``counts`` dealt out by the shares ``expected``?

    The Dirichlet-multinomial mixture over shares around ``expected``, against ``expected`` itself, is a martingale when
    the shares are true (Lindon & Malek 2022); the p-value is 1/M_n, at most 1. Unlike a chi-square test it may be read
    after every visitor: with probability 1 − α it never falls to α in an experiment that is dealt out as intended.
    """
    if len(counts) != len(expected) or not counts or any(c < 0 for c in counts):
        raise InputError("does not fit", field="counts", mend="give one count ≥ 0 and one expected share for each arm")
    if any(share <= 0.0 for share in expected) or not math.isclose(math.fsum(expected), 1.0, rel_tol=1e-9):
        raise InputError("are not shares of one", field="expected", mend="give positive shares that sum to 1")
    n = sum(counts)
    evidence = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + n)
    for count, share in zip(counts, expected, strict=True):
        prior = _CONCENTRATION * share
        evidence += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return math.exp(-max(0.0, evidence))


def _check_counts(k: int, n: int, level: float) -> None:
    if not 0 <= k <= n:
        raise InputError(f"is {k} of {n}", field="k", mend="give a number of successes from 0 to the trials")
    if not 0.0 < level < 1.0:
        raise InputError(f"is {level}", field="level", mend="give a confidence between 0 and 1, such as 0.95")


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _root(excess: float, k: int, n: int, theta: float) -> float:
    """The zero of excess − k·θ + n·ln(1 + e^θ) by Newton's method from ``theta``, where it is not negative.

    The function is convex, so Newton's method comes ever nearer and does not overshoot: rounding apart, the answer
    never lies inside the interval.
    """
    while True:
        # Both branches are the same function; each keeps its digits where the other loses them.
        if theta <= 0.0:
            gap = excess - k * theta + n * math.log1p(math.exp(theta))
            slope = n * _logistic(theta) - k
        else:
            gap = excess + (n - k) * theta + n * math.log1p(math.exp(-theta))
            slope = (n - k) - n * _logistic(-theta)
        if gap <= 0.0 or abs(gap) <= 1e-12 * abs(slope) * max(1.0, abs(theta)):
            return theta
        theta -= gap / slope


def _logistic(theta: float) -> float:
    """1/(1 + e^−θ), without overflow on either side."""
    if theta >= 0.0:
        return 1.0 / (1.0 + math.exp(-theta))
    small = math.exp(theta)
    return small / (1.0 + small)


def _rank_bounds(n: int, q: float, level: float) -> tuple[int, int]:
    """The least and the greatest k that the mixture martingale at p = q lets pass after n trials."""
    limit = -math.log1p(-level) + _log_beta(_PRIOR, _PRIOR)
    log_q, log_rest = math.log(q), math.log1p(-q)

    def passes(k: int) -> bool:
        return _log_beta(_PRIOR + k, _PRIOR + n - k) - k * log_q - (n - k) * log_rest < limit

    # Convex in k, so the passing ranks are one run. Near q·n the martingale is below 1: the middle passes.
    middle = round(q * n)
    low, inside = -1, middle
    while inside - low > 1:
        probe = (low + inside) // 2
        low, inside = (low, probe) if passes(probe) else (probe, inside)
    lowest = inside
    inside, high = middle, n + 1
    while high - inside > 1:
        probe = (inside + high) // 2
        inside, high = (probe, high) if passes(probe) else (inside, probe)
    return lowest, inside


def _bucket_of(counts: Mapping[int, int], rank: int) -> int:
    """The bucket of the reading of that rank, from 1."""
    seen = 0
    bucket = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            break
    return bucket
