"""Propensities are what they claim: exact, floored, and what Thompson sampling would do."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from arauto.core.errors import InputError
from arauto.experiments import (
    beta_posterior,
    chance_to_win,
    draw_arms,
    fixed_propensities,
    revenue_propensities,
    segment_propensities,
    thompson_propensities,
    top_two_propensities,
    uniform_propensities,
)

arms = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=40)


@example([(0, 2), (1, 2), (1, 3), (1, 2), (0, 1), (0, 3), (9, 2), (0, 40)], 0.0, 1)
@given(arms, st.floats(0, 1), st.integers(0, 2**32))
def test_propensities_sum_to_one_and_keep_the_floor(pairs, floor, seed):
    successes, trials = [a for a, _ in pairs], [a + b for a, b in pairs]
    p = thompson_propensities(successes, trials, floor=floor, draws=50, rng=np.random.default_rng(seed))
    assert math.fsum(p) == 1.0
    assert p.shape == (len(pairs),)
    assert p.min() >= min(floor, 1 / len(pairs)) * (1 - 1e-12)


def test_same_seed_same_propensities():
    one, two, other = (
        thompson_propensities([3, 5], [90, 80], floor=0.01, rng=np.random.default_rng(seed)) for seed in (7, 7, 8)
    )
    assert one.tolist() == two.tolist()
    assert one.tolist() != other.tolist()


def test_propensities_are_the_chance_that_the_arm_is_best():
    """Two arms Beta(2, 1) and Beta(1, 2): P(X > Y) is the integral of 2x·(2x − x²) over [0, 1], 5/6."""
    p = thompson_propensities([1, 0], [1, 1], floor=0.0, draws=200_000, rng=np.random.default_rng(0))
    assert p[0] == pytest.approx(5 / 6, abs=5 * math.sqrt(5 / 36 / 200_000))


def test_without_data_every_arm_is_as_likely():
    p = thompson_propensities([0] * 5, [0] * 5, floor=0.01, draws=100_000, rng=np.random.default_rng(0))
    assert p == pytest.approx([0.2] * 5, abs=0.01)


def test_the_floor_keeps_a_hopeless_arm_alive():
    p = thompson_propensities([900, 1], [1000, 1000], floor=0.05, rng=np.random.default_rng(0))
    assert p[1] == pytest.approx(0.05)
    assert thompson_propensities([900, 1], [1000, 1000], floor=0.9, rng=np.random.default_rng(0)).tolist() == [0.5, 0.5]


def test_arms_are_drawn_by_exactly_the_logged_propensities():
    """Pearson's chi-square of a million draws, four degrees of freedom: 18.5 is exceeded once in a thousand."""
    rng = np.random.default_rng(11)
    p = thompson_propensities([9, 12, 3, 8, 10], [300, 310, 280, 290, 305], floor=0.02, rng=rng)
    n = 1_000_000
    seen = np.bincount(draw_arms(p, n, rng), minlength=5)
    assert ((seen - n * p) ** 2 / (n * p)).sum() < 18.5


def test_inverse_propensity_weighting_of_drawn_arms_is_unbiased():
    rng = np.random.default_rng(3)
    p = thompson_propensities([5, 1, 2], [50, 50, 50], floor=0.01, rng=rng)
    drawn = draw_arms(p, 400_000, rng)
    for arm in range(3):
        assert (drawn == arm).mean() / p[arm] == pytest.approx(1.0, abs=5 * math.sqrt((1 - p[arm]) / p[arm] / 400_000))


def test_a_block_is_the_same_for_the_same_seed():
    one, two = (draw_arms([0.2, 0.3, 0.5], 100, np.random.default_rng(5)) for _ in range(2))
    assert one.tolist() == two.tolist()
    assert one.dtype == np.int64


def test_thompson_sampling_finds_the_best_arm():
    """Three arms, 2000 steps updated every 20, 20 seeds: the best arm gets most of the last quarter's traffic."""
    rates = np.array([0.05, 0.10, 0.20])
    shares = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        wins, shown = np.zeros(3), np.zeros(3)
        late = np.zeros(3)
        for step in range(100):
            block = draw_arms(thompson_propensities(wins, shown, floor=0.01, draws=500, rng=rng), 20, rng)
            seen = np.bincount(block, minlength=3)
            wins += rng.binomial(seen, rates)
            shown += seen
            late += seen * (step >= 75)
        shares.append(late[2] / late.sum())
    assert np.mean(shares) > 0.85


def test_chance_to_win_agrees_with_the_integral():
    p = chance_to_win([1, 0], [1, 1], np.random.default_rng(0), draws=100_000)
    assert p[0] == pytest.approx(5 / 6, abs=0.006)
    assert p.sum() == pytest.approx(1.0)


def test_uniform():
    assert uniform_propensities(4).tolist() == [0.25] * 4
    assert math.fsum(uniform_propensities(3)) == 1.0
    assert uniform_propensities(1).tolist() == [1.0]


def test_posterior_is_uniform_prior_plus_counts():
    alpha, beta = beta_posterior([0, 3], [0, 10])
    assert (alpha.tolist(), beta.tolist()) == ([1.0, 4.0], [1.0, 8.0])


@pytest.mark.parametrize(
    ("successes", "trials"), [([], []), ([1], [1, 2]), ([2], [1]), ([-1], [1]), ([0], [math.inf]), ([[1]], [[1]])]
)
def test_counts_are_checked(successes, trials):
    with pytest.raises(InputError) as error:
        beta_posterior(successes, trials)
    assert error.value.field == "successes"
    assert error.value.mend


def test_numbers_are_checked():
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="floor"):
        thompson_propensities([1], [2], floor=1.5, rng=rng)
    with pytest.raises(InputError, match="draws"):
        chance_to_win([1], [2], rng, draws=0)
    with pytest.raises(InputError, match="arms"):
        uniform_propensities(0)


def test_other_ways_to_deal_are_exact_and_keep_the_floor():
    rng = np.random.default_rng(3)
    fixed = fixed_propensities([3, 1])
    assert fixed.tolist() == [0.75, 0.25]
    best = top_two_propensities([10, 40, 5], [100, 100, 100], floor=0.02)
    plain = thompson_propensities([10, 40, 5], [100, 100, 100], floor=0.02, rng=rng)
    assert 0.3 < best[1] < 0.7 < plain[1]
    worth = revenue_propensities([20, 10], [500, 500], [200, 5000], [2500, 3e6], floor=0.05, rng=rng)
    assert worth[1] > 0.6
    for p, least in ((fixed, 0.0), (best, 0.02), (worth, 0.05)):
        assert math.fsum(p) == 1.0
        assert p.min() >= least
    for bad in ([], [0.5, 0.0], [[1.0]]):
        with pytest.raises(InputError):
            fixed_propensities(bad)


def test_segments_learn_apart_and_lean_on_each_other():
    rng = np.random.default_rng(3)
    wins, shown = np.array([[300, 100, 0], [100, 300, 0]]), np.full((2, 3), 1000)
    shown[:, 2] = 0
    found = segment_propensities(wins, shown, floor=0.01, rng=rng)
    assert found.shape == (3, 2)
    assert found[0, 0] > 0.95
    assert found[1, 1] > 0.95
    assert 0.2 < found[2, 0] < 0.8
    lean = segment_propensities(np.array([[300, 0], [200, 0]]), np.array([[1000, 0], [1000, 0]]), floor=0.01, rng=rng)
    assert lean[1, 0] > 0.6, "nothing is known of the second segment but what the first one tells"
    assert all(math.fsum(row) == 1.0 for row in found)
    with pytest.raises(InputError):
        segment_propensities([[2]], [[1]], floor=0.01, rng=rng)
