"""CUPED, false discoveries, health, uplift, and before-and-after."""

import math

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.experiments.adjust import cuped, regression_adjusted
from arauto.experiments.bandits import Posterior
from arauto.experiments.comparison import lift_estimate, lift_evidence, lift_score, pair_terms
from arauto.experiments.health import (
    _chi_square_tail,
    check_novelty,
    find_bots,
    multiple_exposure,
    ratio_mismatch_at_end,
    share_mismatch,
)
from arauto.experiments.interrupted import before_after, student
from arauto.experiments.mixture import Prior
from arauto.experiments.multiple import clock_needed, discoveries, expected_loss, visitors_left, visitors_needed
from arauto.experiments.uplift import fit_uplift, policy_value, uplift_curve

REFUTED = math.log(20.0)


def by_arm(arm, values):
    return [[float(values[arm == 0].sum()), float(values[arm == 1].sum())]]


def test_cuped_takes_out_what_was_known_and_nothing_else():
    rng = np.random.default_rng(1)
    n = 4000
    arm = (rng.random(n) < 0.5).astype(int)
    before = rng.gamma(2.0, 5.0, n)
    y = before + rng.normal(0.0, 3.0, n) + 0.5 * arm
    sums = [by_arm(arm, v) for v in (np.ones(n), y, y * y, before, before**2, before * y)]
    adjusted = cuped(*sums)
    assert adjusted.theta == pytest.approx(1.0, abs=0.05)
    assert adjusted.reduction == pytest.approx(50 / 59, abs=0.03)
    rows = y - adjusted.theta * (before - before.mean())
    assert adjusted.num == pytest.approx(np.array(by_arm(arm, rows)))
    assert adjusted.num2 == pytest.approx(np.array(by_arm(arm, rows**2)))
    plain = pair_terms([0.5], sums[0], sums[1], sums[2])[0]
    better = pair_terms([0.5], sums[0], adjusted.num, adjusted.num2)[0]
    assert lift_evidence(better) > REFUTED > lift_evidence(plain)
    assert float(lift_estimate(better, "absolute")) == pytest.approx(0.5, abs=0.25)
    nothing = cuped(*(sums[0], sums[1], sums[2], [[0.0, 0.0]], [[0.0, 0.0]], [[0.0, 0.0]]))
    assert (nothing.theta, nothing.reduction) == (0.0, 0.0)
    with pytest.raises(InputError):
        cuped([1.0], [1.0], [1.0], [1.0], [1.0], [1.0, 2.0])


def test_regression_adjustment_takes_several_and_missing_ones():
    rng = np.random.default_rng(2)
    z = rng.normal(size=(2000, 3))
    y = 5.0 + z @ [1.0, -2.0, 0.0] + rng.normal(0.0, 0.5, 2000)
    z[rng.random(2000) < 0.2, 2] = np.nan
    adjusted = regression_adjusted(y, z)
    assert adjusted.mean() == pytest.approx(y.mean())
    assert adjusted.std() == pytest.approx(0.5, abs=0.03)
    with pytest.raises(InputError):
        regression_adjusted(y, z[:5])


def test_false_discoveries_are_few():
    rng = np.random.default_rng(3)
    rates, power = [], []
    for _ in range(60):
        drift = np.zeros(20)
        drift[:5] = 6.0
        z = rng.normal(drift, 1.0)
        # e-values of a bet on a drift of 5 at one look
        found = discoveries(5.0 * z - 12.5, 0.1)
        rates.append(found[5:].sum() / max(1, found.sum()))
        power.append(found[:5].mean())
    assert np.mean(rates) <= 0.1
    assert np.mean(power) > 0.8
    assert discoveries([math.log(19.0)], 0.05).tolist() == [False]
    assert discoveries([math.log(20.0)], 0.05).tolist() == [True]
    assert discoveries([], 0.05).size == 0
    # the second passes only because the first does too
    assert discoveries([math.log(41.0), math.log(20.5)], 0.05).tolist() == [True, True]
    assert discoveries([0.0, math.log(20.5)], 0.05).tolist() == [False, False]
    with pytest.raises(InputError):
        discoveries([math.nan], 0.05)


def test_expected_loss_is_what_choosing_costs():
    loss = expected_loss(Posterior(np.array([100.0, 200.0]), np.array([900.0, 800.0])), np.random.default_rng(4))
    assert loss == pytest.approx([0.1, 0.0], abs=0.002)


def test_time_left_is_what_it_takes():
    rng = np.random.default_rng(5)
    base, lift, prior = 0.4, 0.3, Prior(0.3, 0.4)
    needed = visitors_needed(base, lift, prior=prior)
    arm = (rng.random((150, 4 * needed)) < 0.5).astype(int)
    x = (rng.random(arm.shape) < base * (1 + lift * arm)).astype(float)
    one = np.stack([1 - arm, arm], axis=-1).astype(float)
    sums = pair_terms(np.full(arm.shape, 0.5), one, x[..., None] * one, x[..., None] * one).cumsum(axis=1)[:, 9::10]
    found = lift_evidence(sums, prior=prior) >= REFUTED
    took = np.where(found.any(axis=1), 10 * found.argmax(axis=1) + 10, arm.shape[1])
    assert took.mean() == pytest.approx(needed, rel=0.25)
    clock = float(lift_score(sums[0, 20])[1])
    left = visitors_left(clock, 210, lift, prior=prior)
    assert left is not None
    assert 0.5 * needed < left + 210 < 2.0 * needed
    assert visitors_left(0.0, 10, lift) is None
    assert visitors_left(1e9, 10, lift) == 0
    assert clock_needed(0.05) > clock_needed(0.2)
    for bad in (lambda: clock_needed(0.0), lambda: visitors_needed(1.0, 0.1)):
        with pytest.raises(InputError):
            bad()


def test_sample_ratio_under_a_changing_split():
    rng = np.random.default_rng(6)
    shares = rng.dirichlet([5, 3, 2], size=100)
    fooled = 0
    for _ in range(60):
        counts = np.array([rng.multinomial(30, share) for share in shares])
        fooled += any(share_mismatch(shares[: b + 1], counts[: b + 1]) < 0.05 for b in range(0, 100, 10))
    assert fooled <= 4
    biased = np.array([rng.multinomial(300, share * [1.1, 1.0, 1.0] / (1.0 + 0.1 * share[0])) for share in shares])
    assert share_mismatch(shares, biased) < 1e-3
    with pytest.raises(InputError):
        share_mismatch([[0.5, 0.4]], [[1, 1]])


def test_the_sample_ratio_of_a_finished_test():
    # Cookie Cats: 44,700 and 45,489 players
    assert ratio_mismatch_at_end([44_700, 45_489], [0.5, 0.5]) == pytest.approx(0.0086, abs=1e-4)
    # Abramowitz & Stegun, table 26.8: the 5 % points of 1 to 5 degrees of freedom
    for freedom, point in enumerate([3.841, 5.991, 7.815, 9.488, 11.070], start=1):
        assert _chi_square_tail(point, freedom) == pytest.approx(0.05, abs=1e-4)
    assert ratio_mismatch_at_end([100, 100, 100], [1, 1, 1]) == pytest.approx(1.0)
    with pytest.raises(InputError):
        ratio_mismatch_at_end([0, 0], [0.5, 0.5])


def test_multiple_exposure_bots_and_novelty():
    assert multiple_exposure(0, 0) == (0.0, False)
    assert multiple_exposure(3, 1000) == (0.003, False)
    share, doubtful = multiple_exposure(40, 1000)
    assert (share, doubtful) == (0.04, True)
    events = np.append(np.random.default_rng(7).poisson(3, 1000), [500, 900])
    found = find_bots(events)
    assert found.flagged.tolist() == [1000, 1001]
    assert 0.2 < found.share < 0.5
    assert find_bots([]).flagged.size == 0
    with pytest.raises(InputError):
        find_bots([-1.0])

    def period(treated):
        return pair_terms([0.5], [[20_000, 20_000]], [[2000, treated]], [[2000, treated]])[0]

    assert check_novelty(period(2600), period(2050)).changed
    assert not check_novelty(period(2200), period(2150)).changed


def test_uplift_finds_whom_to_treat():
    rng = np.random.default_rng(8)
    n = 12_000
    x = rng.normal(size=(n, 4))
    a = (rng.random(n) < 0.3).astype(float)
    tau = 0.3 * x[:, 0]
    y = 1.0 + x[:, 1] + a * tau + rng.normal(0.0, 0.5, n)
    fit, held = slice(0, n // 2), slice(n // 2, n)
    model = fit_uplift(x[fit], a[fit], y[fit], 0.3)
    predicted = model.predict(x[held])
    assert np.corrcoef(predicted, tau[held])[0, 1] > 0.97
    worth = policy_value(predicted > 0.0, a[held], y[held], 0.3)
    gain = 0.3 / math.sqrt(2.0 * math.pi)
    assert worth.over_all == pytest.approx(gain, abs=0.06)
    assert worth.over_none == pytest.approx(gain, abs=0.06)
    assert worth.over_none_interval.low < gain < worth.over_none_interval.high
    assert worth.treated_share == pytest.approx(0.5, abs=0.08)
    curve = uplift_curve(predicted, a[held], y[held], 0.3)
    assert curve.qini > 0.04
    assert curve.gain[50] == pytest.approx(gain, abs=0.06)
    assert abs(uplift_curve(rng.normal(size=n // 2), a[held], y[held], 0.3).qini) < 0.04
    costly = policy_value(np.ones(n // 2), a[held], y[held], 0.3, cost=1.0)
    assert costly.over_none == pytest.approx(-1.0, abs=0.06)


def test_policy_value_covers():
    rng = np.random.default_rng(9)
    covered = 0
    for _ in range(100):
        x = rng.random(600)
        a = (rng.random(600) < 0.5).astype(float)
        y = (rng.random(600) < 0.2 + 0.2 * a * (x > 0.5)).astype(float)
        low, high = policy_value(x > 0.5, a, y, 0.5).interval
        covered += low <= 0.3 <= high
    assert covered >= 90
    for bad in (
        lambda: fit_uplift(np.zeros((2, 1)), [0, 2], [1, 1], 0.5),
        lambda: fit_uplift(np.zeros((2, 1)), [0, 1], [1, 1], 1.0),
        lambda: policy_value([1, 1], [0, 0], [1, 1], 0.5),
    ):
        with pytest.raises(InputError):
            bad()


@pytest.mark.parametrize("days", [(20, 12), (35, 21)])
def test_before_and_after_covers_a_real_change(days):
    rng = np.random.default_rng(10)
    before, after = days
    covered = false = 0
    week = np.tile([0.0, 0.2, 0.3, 0.2, 0.0, -0.4, -0.3], 10)[: before + after]
    for _ in range(150):
        noise = rng.normal(0.0, 0.2, before + after)
        for day in range(1, noise.size):
            noise[day] += 0.3 * noise[day - 1]
        y = 5.0 + 0.01 * np.arange(noise.size) + week + noise
        low, high = before_after(y, before).interval
        false += not low <= 0.0 <= high
        y[before:] += 1.0
        found = before_after(y, before, weights=rng.uniform(0.9, 1.1, y.size))
        covered += found.interval.low <= 1.0 <= found.interval.high
    assert covered >= 132
    assert false <= 18
    assert found.warning == "weaker_than_a_test"
    assert found.step == pytest.approx(1.0, abs=1.0)
    assert found.relative == pytest.approx(found.effect / found.expected)
    assert found.after - found.expected == pytest.approx(found.effect)


def test_before_and_after_needs_enough_days():
    with pytest.raises(InputError) as refused:
        before_after(np.ones(20), 5)
    assert refused.value.field == "changed_at"
    with pytest.raises(InputError):
        before_after([1.0, math.nan] * 10, 10)
    flat = before_after(np.ones(20), 12)
    assert flat.effect == pytest.approx(0.0, abs=1e-9)


def test_student_quantiles():
    # Abramowitz & Stegun, table 26.10
    assert student(0.975, 5) == pytest.approx(2.571, rel=0.01)
    assert student(0.975, 10) == pytest.approx(2.228, rel=0.005)
    assert student(0.975, 10_000) == pytest.approx(1.960, rel=0.001)
