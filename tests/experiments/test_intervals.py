"""The promised error rates, held to over many seeds."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arauto.core.errors import InputError
from arauto.experiments import (
    draw_arms,
    mean_sequence,
    quantile_interval,
    rate_sequence,
    ratio_mismatch,
    thompson_propensities,
    wilson_interval,
)

sequence = cache(rate_sequence)


def binomial_miss(n: int, p: float, level: float) -> float:
    """The exact probability that the score interval misses ``p`` at ``n`` trials."""
    missed = 0.0
    for k in range(n + 1):
        low, high = wilson_interval(k, n, level)
        if not low <= p <= high:
            log = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
            missed += math.exp(log + k * math.log(p) + (n - k) * math.log1p(-p))
    return missed


def test_wilson_by_hand():
    """Newcombe (1998), table I: 81 of 263 and 0 of 20 at 95 %."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(20, 20) == pytest.approx((0.8389, 1.0), abs=5e-5)
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.no_cover
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_wilson_coverage_is_near_nominal(level):
    rates = np.linspace(0.05, 0.95, 19)
    misses = [binomial_miss(100, p, level) for p in rates]
    assert np.mean(misses) == pytest.approx(1 - level, abs=0.01)
    assert max(misses) < 1 - level + 0.05


@pytest.mark.no_cover
@pytest.mark.parametrize(("rate", "steps"), [(0.5, 1000), (0.05, 1000)])
def test_the_sequence_covers_at_every_step(rate, steps):
    """500 streams looked at after EVERY trial: at most 5 % may ever miss (the mean count 25, plus two deviations)."""
    rng = np.random.default_rng(20)
    missed = 0
    for _ in range(500):
        hits = (rng.random(steps) < rate).cumsum()
        missed += any(not (interval := sequence(int(k), n)).low <= rate <= interval.high for n, k in enumerate(hits, 1))
    assert missed <= 25
    assert missed > 0, "an interval that never misses is too wide to be of use"


def test_looking_daily_at_wilson_does_break_its_promise():
    """Why the sequences are there: the same streams, the fixed-n interval, looked at every 50 trials."""
    rng = np.random.default_rng(20)
    missed = 0
    for _ in range(300):
        hits = (rng.random(1000) < 0.5).cumsum()
        missed += any(
            not wilson_interval(int(hits[n - 1]), n).low <= 0.5 <= wilson_interval(int(hits[n - 1]), n).high
            for n in range(50, 1001, 50)
        )
    assert missed / 300 > 0.15


@pytest.mark.no_cover
def test_the_sequence_covers_under_a_bandit():
    """A/A of three arms dealt by Thompson sampling, looked at after every ten: no arm's sequence may mislead."""
    rng = np.random.default_rng(4)
    missed = 0
    for _ in range(100):
        wins, shown = np.zeros(3, int), np.zeros(3, int)
        bad = False
        for _ in range(50):
            seen = np.bincount(
                draw_arms(thompson_propensities(wins, shown, floor=0.02, draws=100, rng=rng), 10, rng), minlength=3
            )
            wins, shown = wins + rng.binomial(seen, 0.2), shown + seen
            bad |= any(
                not (i := sequence(int(k), int(n), 1 - 0.05 / 3)).low <= 0.2 <= i.high
                for k, n in zip(wins, shown, strict=True)
            )
        missed += bad
    assert missed <= 5


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.5, 0.95]))
def test_the_sequence_is_the_martingale_below_its_limit(pair, level):
    k, n = pair

    def log_martingale(p):
        a, b = k + 0.5, n - k + 0.5
        mixture = math.lgamma(a) + math.lgamma(b) - math.lgamma(n + 1) - math.log(math.pi)
        return mixture - (k * math.log(p) if k else 0) - ((n - k) * math.log1p(-p) if n > k else 0)

    low, high = rate_sequence(k, n, level)
    assert 0 <= low <= k / n <= high <= 1
    limit = -math.log(1 - level)
    if k:
        assert log_martingale(low) == pytest.approx(limit, abs=1e-6)
    else:
        assert low == 0
    if k < n:
        assert log_martingale(high) == pytest.approx(limit, abs=1e-6)
    else:
        assert high == 1


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_the_sequence_is_symmetric_and_wider_than_one_look(k, misses):
    n = k + misses
    low, high = rate_sequence(k, n)
    mirrored = rate_sequence(misses, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-9)
    assert high - low >= wilson_interval(k, n).high - wilson_interval(k, n).low - 1e-12
    wider = rate_sequence(k, n, 0.99)
    assert wider.low <= low
    assert wider.high >= high


def test_the_sequence_narrows_for_ever():
    widths = [high - low for low, high in (rate_sequence(n // 100, n) for n in (10**2, 10**4, 10**6, 10**8))]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 1e-4
    assert rate_sequence(0, 0) == (0.0, 1.0)


@pytest.mark.no_cover
def test_the_mean_covers_at_every_step():
    """Ratings from 1 to 5 at their most spread (half ones, half fives): 400 streams of 400."""
    rng = np.random.default_rng(9)
    missed = 0
    for _ in range(400):
        totals = np.where(rng.random(400) < 0.5, 1, 5).cumsum()
        missed += any(not (i := mean_sequence(float(t), n, 1, 5)).low <= 3.0 <= i.high for n, t in enumerate(totals, 1))
    assert 0 < missed <= 20


def test_the_mean_by_hand():
    assert mean_sequence(0.0, 0, 1, 5) == (1, 5)
    low, high = mean_sequence(420.0, 100, 1, 5)
    assert 1 <= low < 4.2 < high <= 5
    # σ² = 4, ρ = 400/(2 ln 20 + ln(1 + 2 ln 20)); half-width from the boundary at n = 100.
    surprise = 2 * math.log(20)
    rho = 400 / (surprise + math.log(1 + surprise))
    assert 4.2 - low == pytest.approx(math.sqrt((400 + rho) * (math.log((400 + rho) / rho) + surprise)) / 100)
    with pytest.raises(InputError, match="total"):
        mean_sequence(6.0, 1, 1, 5)


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", ["smooth", "lumpy"])
def test_the_quantile_covers_at_every_step(kind):
    """200 streams of 400 readings, p75; ``lumpy`` has only four values, the quantile inside a lump."""
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(200):
        readings = rng.integers(0, 1000, 400) if kind == "smooth" else rng.choice(4, 400, p=[0.2, 0.2, 0.4, 0.2])
        truth = 749 if kind == "smooth" else 2
        counts: dict[int, int] = {}
        bad = False
        for n, reading in enumerate(readings.tolist(), 1):
            counts[reading] = counts.get(reading, 0) + 1
            if n % 10 == 0:
                low, _, high = quantile_interval(counts, 0.75)
                bad |= (low is not None and low > truth) or (high is not None and high < truth)
        missed += bad
    assert missed <= 10
    assert missed > 0 or kind == "lumpy", "an interval that never misses is too wide to be of use"


def test_the_quantile_by_hand():
    assert quantile_interval({}, 0.75) == (None, None, None)
    assert quantile_interval({5: 1}, 0.75) == (None, 5, None)
    wide = quantile_interval(dict.fromkeys(range(100), 10), 0.75)
    assert wide.at == 74
    assert wide.low is not None
    assert wide.high is not None
    assert 65 < wide.low < 74 < wide.high < 85
    assert quantile_interval({-3: 500, 7: 0}, 0.5) == (-3, -3, -3)


@pytest.mark.no_cover
def test_mismatch_keeps_its_promise_at_every_step():
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(400):
        counts = np.cumsum(rng.multinomial(20, [1 / 3] * 3, size=50), axis=0)
        alarms += any(ratio_mismatch(row, [1 / 3] * 3) <= 0.05 for row in counts.tolist())
    assert alarms <= 20


def test_mismatch_sees_what_is_wrong():
    assert ratio_mismatch([5000, 5000], [0.5, 0.5]) == 1.0
    assert ratio_mismatch([5300, 4700], [0.5, 0.5]) < 1e-4
    assert ratio_mismatch([0, 0], [0.5, 0.5]) == 1.0
    assert ratio_mismatch([700, 300], [0.7, 0.3]) == 1.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: rate_sequence(2, 1),
        lambda: rate_sequence(-1, 1),
        lambda: rate_sequence(1, 2, 1.0),
        lambda: wilson_interval(3, 2),
        lambda: wilson_interval(1, 2, 0.0),
        lambda: quantile_interval({1: 1}, 1.0),
        lambda: quantile_interval({1: -1, 2: 3}, 0.5),
        lambda: ratio_mismatch([], []),
        lambda: ratio_mismatch([1, 2], [1.0]),
        lambda: ratio_mismatch([1, -2], [0.5, 0.5]),
        lambda: ratio_mismatch([1, 2], [0.5, 0.4]),
        lambda: ratio_mismatch([1, 2], [1.0, 0.0]),
    ],
)
def test_bad_numbers_are_named(call):
    with pytest.raises(InputError) as error:
        call()
    assert error.value.field
    assert error.value.mend
