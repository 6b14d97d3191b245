"""The promise: whoever looks after every visitor is fooled at most as often as was said."""

import math

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.experiments.comparison import compare, lift_estimate, lift_evidence, lift_interval, lift_score, pair_terms
from arauto.experiments.mixture import Prior, log_evidence, p_value, typical

REFUTED = math.log(20.0)  # α = 5 %


def stream(kind, runs, visitors, share, lift, rng):
    """Visitors of many runs: assignment, outcome and (for ratios) denominator, each (runs, visitors)."""
    arm = (rng.random((runs, visitors)) < share).astype(int)
    factor = 1.0 + lift * arm
    if kind == "rate":
        return arm, (rng.random(arm.shape) < 0.05 * factor).astype(float), None
    if kind == "revenue":
        return arm, (rng.random(arm.shape) < 0.04 * factor) * rng.lognormal(3.0, 1.5, arm.shape), None
    orders = (rng.random(arm.shape) < 0.2).astype(float)
    return arm, rng.lognormal(0.0, 0.7, arm.shape) * factor * (0.3 + orders), orders


def running_sums(arm, x, y, share):
    one = np.stack([1 - arm, arm], axis=-1).astype(float)
    parts = {} if y is None else {"den": y[..., None] * one, "den2": (y * y)[..., None] * one}
    if y is not None:
        parts["cross"] = (x * y)[..., None] * one
    shares = np.broadcast_to(np.asarray(share, float), arm.shape)
    return pair_terms(shares, one, x[..., None] * one, (x * x)[..., None] * one, **parts).cumsum(axis=1)


@pytest.mark.no_cover
@pytest.mark.parametrize("share", [0.5, 0.05])
@pytest.mark.parametrize("kind", ["rate", "revenue", "ratio"])
def test_peeking_after_every_visitor_keeps_the_error_rate(kind, share):
    rng = np.random.default_rng(7)
    fooled = 0
    for _ in range(6):
        arm, x, y = stream(kind, 50, 800, share, 0.0, rng)
        fooled += int((lift_evidence(running_sums(arm, x, y, share)) >= REFUTED).any(axis=1).sum())
    assert fooled <= 15, f"{fooled} of 300 A/A runs"


@pytest.mark.no_cover
@pytest.mark.parametrize("kind", ["rate", "revenue", "ratio"])
def test_the_true_lift_is_covered_at_all_times(kind):
    rng = np.random.default_rng(8)
    missed = 0
    for _ in range(6):
        arm, x, y = stream(kind, 50, 800, 0.4, 0.5, rng)
        missed += int((lift_evidence(running_sums(arm, x, y, 0.4), 0.5) >= REFUTED).any(axis=1).sum())
    assert missed <= 15, f"{missed} of 300 runs"


@pytest.mark.no_cover
def test_a_bandits_split_and_an_hourly_drift_do_no_harm():
    """The better arm gets more traffic in the bad hours: averages are reversed, the sequence is not fooled."""
    rng = np.random.default_rng(9)
    hour = np.arange(2400) // 300
    good = hour % 2 == 0
    share = np.where(good, 0.1, 0.9)
    missed = naive_wrong = right = 0
    for _ in range(4):
        arm = (rng.random((50, 2400)) < share).astype(int)
        x = (rng.random(arm.shape) < np.where(good, 0.30, 0.05) * (1.0 + 0.3 * arm)).astype(float)
        sums = running_sums(arm, x, None, share)
        missed += int((lift_evidence(sums, 0.3) >= REFUTED).any(axis=1).sum())
        treated = (x * arm).sum(axis=1) / arm.sum(axis=1)
        naive_wrong += int((treated < (x * (1 - arm)).sum(axis=1) / (1 - arm).sum(axis=1)).sum())
        right += int((lift_estimate(sums[:, -1]) > 0.0).sum())
    assert naive_wrong == 200
    assert missed <= 10
    assert right >= 190


@pytest.mark.no_cover
def test_told_the_effect_it_needs_no_more_visitors_than_the_fixed_test():
    rng = np.random.default_rng(10)
    base, lift = 0.2, 0.3
    fixed = 2 * 7.849 * (base * (1 - base) + base * (1 + lift) * (1 - base * (1 + lift))) / (base * lift) ** 2
    arm = (rng.random((150, int(4 * fixed))) < 0.5).astype(int)
    x = (rng.random(arm.shape) < base * (1 + lift * arm)).astype(float)
    refuted = lift_evidence(running_sums(arm, x, None, 0.5)[:, 9::10], prior=Prior(lift, 0.4)) >= REFUTED
    stopped = np.where(refuted.any(axis=1), refuted.argmax(axis=1) * 10 + 10, arm.shape[1])
    assert stopped.mean() <= 1.25 * fixed
    assert refuted.any(axis=1).mean() >= 0.95


def test_sums_of_parts_add_up_and_the_answer_is_one():
    share = [0.5, 0.3]
    n = [[500, 500], [700, 300]]
    clicks = [[50, 60], [77, 42]]
    terms = pair_terms(share, n, clicks, clicks)
    answer = compare(terms.sum(axis=0))
    assert answer.visitors == (1200, 800)
    assert answer.means == pytest.approx((127 / 1200, 102 / 800))
    # within each block the treatment is 20 % and 27 % better
    assert 0.20 < answer.lift < 0.28
    assert answer.lift_interval.low < 0.0 < answer.lift < answer.lift_interval.high
    assert answer.difference_interval.low < answer.difference < answer.difference_interval.high
    assert answer.p == pytest.approx(p_value(answer.evidence))
    assert answer.p > 0.05


def test_interval_and_evidence_agree():
    sums = pair_terms([0.5], [[4000, 4000]], [[400, 520]], [[400, 520]])[0]
    low, high = lift_interval(sums)
    assert 0.0 < low < 0.3 < high
    assert float(lift_evidence(sums, low)) == pytest.approx(REFUTED, abs=1e-6)
    assert float(lift_evidence(sums, high)) == pytest.approx(REFUTED, abs=1e-6)
    wide = lift_interval(sums, level=0.99)
    assert wide.low < low < high < wide.high
    absolute = lift_interval(sums, scale="absolute")
    assert absolute.low < 0.03 < absolute.high
    assert float(lift_evidence(sums, absolute.high, scale="absolute")) == pytest.approx(REFUTED, abs=1e-6)


def test_one_sided_bets():
    worse = pair_terms([0.1], [[9000, 1000]], [[900, 60]], [[900, 60]])[0]
    assert lift_evidence(worse, side="less") > REFUTED
    assert lift_evidence(worse, side="greater") < 0.0
    assert lift_evidence(worse, -0.9, side="greater") > REFUTED
    assert lift_evidence(worse, side="two") < lift_evidence(worse, side="less")


def test_nothing_is_said_of_nothing():
    empty = np.zeros((2, 12))
    answer = compare(empty)
    assert answer.p == 1.0
    assert answer.lift_interval == (-1.0, math.inf)
    assert answer.difference_interval == (-math.inf, math.inf)
    assert math.isnan(answer.lift)
    silent = pair_terms([0.5], [[100, 100]], [[0, 0]], [[0, 0]])[0]
    assert compare(silent).p == 1.0
    only_one = pair_terms([0.5], [[1, 0]], [[1, 0]], [[1, 0]])[0]
    assert compare(only_one).lift_interval == (-1.0, math.inf)


def test_a_metric_below_zero_is_compared_by_difference():
    rng = np.random.default_rng(11)
    x = rng.normal(-3.0, 1.0, 4000)
    arm = (rng.random(4000) < 0.5).astype(int)
    sums = running_sums(arm[None], (x + 0.4 * arm)[None], None, 0.5)[0, -1]
    low, high = lift_interval(sums, scale="absolute")
    assert 0.2 < low < 0.4 < high < 0.6


def test_score_is_zero_at_the_estimate():
    sums = pair_terms([0.2], [[800, 200]], [[90, 35]], [[90, 35]])[0]
    for scale in ("relative", "absolute"):
        assert lift_score(sums, lift_estimate(sums, scale), scale)[0] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("share", "n", "extra", "field"),
    [
        ([1.0], [[1, 1]], {}, "share"),
        ([0.5], [1, 1], {}, "n"),
        ([0.5], [[1, 1]], {"den": [[1, 1]]}, "den2"),
    ],
)
def test_bad_sums_are_refused(share, n, extra, field):
    with pytest.raises(InputError) as refused:
        pair_terms(share, n, n, n, **extra)
    assert refused.value.field == field


def test_bad_questions_are_refused():
    with pytest.raises(InputError):
        compare(np.zeros((3, 2, 12)))
    with pytest.raises(InputError):
        lift_interval(np.zeros((2, 12)), level=1.0)
    with pytest.raises(InputError):
        Prior(0.0).stakes()


def test_stakes_sum_to_one_and_evidence_starts_at_one():
    for prior in (Prior(0.1), Prior(0.02, 0.3), Prior(50.0, 0.2)):
        assert np.exp(prior.stakes()).sum() == pytest.approx(1.0)
        assert float(log_evidence(0.0, 0.0, prior)) == pytest.approx(0.0)
    assert float(log_evidence(0.0, 0.0, None)) == pytest.approx(0.0)


def test_without_a_word_of_the_effect_it_bets_on_what_a_test_of_ten_thousand_sees():
    # At a rate of 10 % a fixed test of 10,000 finds 16.8 %, at 40 % it finds 6.9 %, whatever the sample so far.
    for rate, effect in ((0.1, 0.168), (0.4, 0.0686)):
        pace = 0.25 * rate / (1.0 - rate)
        assert typical([50 * pace, 5000 * pace], [50, 5000]) == pytest.approx([effect, effect], rel=0.01)
    assert typical(0.0, 100) == 4.0
    told = [float(log_evidence(600.0, 6000.0, prior, visitors=216_000)) for prior in (None, Prior(0.1), Prior(0.02))]
    assert told[1] > told[0] > told[2]
    assert p_value(-3.0) == 1.0
