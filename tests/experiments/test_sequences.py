import math

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.experiments.sequences import (
    UNBOUNDED,
    compare_quantiles,
    mean_asymptotic,
    quantile_evidence,
    ratio_asymptotic,
)

GAMMA = 1.04


def histogram(readings, buckets=400):
    """Counts of log-spaced buckets of ratio 1.04."""
    return np.bincount(np.clip((np.log(readings) / math.log(GAMMA)).astype(int), 0, buckets - 1), minlength=buckets)


def test_a_heavy_tailed_mean_is_covered_at_all_times():
    rng = np.random.default_rng(1)
    truth = 0.1 * math.exp(0.5)
    missed = 0
    for _ in range(150):
        x = (rng.random(3000) < 0.1) * rng.lognormal(0.0, 1.0, 3000)
        total, squares = x.cumsum(), (x * x).cumsum()
        looks = range(49, 3000, 50)
        bounds = [mean_asymptotic(i + 1, float(total[i]), float(squares[i])) for i in looks]
        missed += any(not low <= truth <= high for low, high in bounds)
    assert missed <= 7
    assert bounds[-1].high - bounds[-1].low < 0.8 * truth


def test_a_ratio_is_covered_and_silent_while_few_carry_it():
    rng = np.random.default_rng(2)
    missed = 0
    for _ in range(150):
        orders = (rng.random(2000) < 0.1).astype(float)
        cost = rng.gamma(2.0, 0.5, 2000) + orders
        sums = [a.cumsum() for a in (cost, cost * cost, orders, orders, cost * orders)]
        bounds = [ratio_asymptotic(i + 1, *(float(a[i]) for a in sums)) for i in range(19, 2000, 20)]
        missed += any(not low <= 11.0 <= high for low, high in bounds)
    assert missed <= 7
    assert bounds[0] == UNBOUNDED
    assert mean_asymptotic(100, 5.0, 25.0) == UNBOUNDED
    assert mean_asymptotic(0, 0.0, 0.0) == UNBOUNDED
    with pytest.raises(InputError):
        mean_asymptotic(-1, 0.0, 0.0)
    with pytest.raises(InputError):
        mean_asymptotic(1, 0.0, 0.0, level=0.0)


def test_a_quantile_ratio_is_covered_at_all_times():
    rng = np.random.default_rng(3)
    missed = {0: 0, 5: 0}
    for _ in range(60):
        arm = rng.random(2000) < 0.2
        readings = rng.lognormal(7.0, 0.5, 2000)
        for shift in missed:
            counts = np.zeros((1, 2, 400))
            worst = 0.0
            for start in range(0, 2000, 100):
                part = slice(start, start + 100)
                counts[0, 0] += histogram(readings[part][~arm[part]])
                counts[0, 1] += histogram(GAMMA**shift * readings[part][arm[part]])
                worst = max(worst, quantile_evidence([0.2], counts, tolerance=shift, side="two"))
            missed[shift] += worst >= math.log(20)
    assert max(missed.values()) <= 3


def test_a_slower_page_is_found():
    rng = np.random.default_rng(4)
    counts = np.stack([histogram(rng.lognormal(7.0, 0.5, 5000)), histogram(1.2 * rng.lognormal(7.0, 0.5, 500))])[None]
    answer = compare_quantiles([1 / 11], counts)
    assert answer.treatment - answer.control in (4, 5, 6)
    assert answer.low is not None
    assert answer.high is not None
    assert 0 < answer.low <= 5 <= answer.high
    assert answer.p < 0.01
    assert quantile_evidence([1 / 11], counts, side="greater") > math.log(20)
    assert quantile_evidence([1 / 11], counts, side="less") < 0.0
    assert quantile_evidence([1 / 11], counts, tolerance=15, side="less") > math.log(20)
    faster = compare_quantiles([10 / 11], counts[:, ::-1])
    assert faster.high is not None
    assert faster.high < 0


def test_few_readings_bound_nothing():
    counts = np.zeros((1, 2, 10))
    counts[0, :, 3] = 1
    answer = compare_quantiles([0.5], counts)
    assert (answer.low, answer.high, answer.p) == (None, None, 1.0)
    with pytest.raises(InputError):
        compare_quantiles([0.5], np.zeros((1, 2, 10)))
    with pytest.raises(InputError):
        compare_quantiles([0.5], np.ones((2, 10)))
    with pytest.raises(InputError):
        compare_quantiles([0.5], counts, q=1.0)
