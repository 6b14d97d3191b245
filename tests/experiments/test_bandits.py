import math

import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.experiments.assignment import arm_of, held_out, in_part, place_of
from arauto.experiments.bandits import (
    BernoulliBandit,
    Posterior,
    best_probabilities,
    effective_trials,
    floored,
    pooled_prior,
    revenue_chances,
    top_two,
)
from arauto.experiments.contextual import LinearBandit
from arauto.experiments.warm import Trust


@pytest.mark.parametrize(
    ("alpha", "beta"),
    [
        ([1, 1, 1], [1, 1, 1]),
        ([3, 5], [97, 95]),
        ([1, 40, 900], [60, 2000, 40_000]),
        ([1, 1.5, 2, 30], [70, 70, 70, 970]),
        ([2000, 2100], [100_000, 100_000]),
    ],
)
def test_the_chance_to_be_best_is_that_of_drawing(alpha, beta):
    rng = np.random.default_rng(0)
    a, b = np.array(alpha, float), np.array(beta, float)
    drawn = np.bincount(rng.beta(a, b, size=(100_000, a.size)).argmax(axis=1), minlength=a.size) / 100_000
    assert best_probabilities(Posterior(a, b)) == pytest.approx(drawn, abs=0.02)


def test_floor_and_top_two_are_distributions():
    p = floored([0.0, 0.2, 0.8], 0.1)
    assert p == pytest.approx([0.1, 0.24, 0.66])
    assert floored([0.0, 1.0], 0.9) == pytest.approx([0.5, 0.5])
    assert top_two([0.9, 0.08, 0.02]) == pytest.approx([0.4983, 0.4008, 0.1009], abs=0.001)
    assert top_two([0.25] * 4) == pytest.approx([0.25] * 4)
    assert top_two([1.0, 0.0]) == pytest.approx([1.0, 0.0])
    assert top_two([1.0]) == pytest.approx([1.0])
    for chances, floor in (([], 0.1), ([-1.0, 2.0], 0.1), ([1.0], 2.0)):
        with pytest.raises(InputError):
            floored(chances, floor)


def test_top_two_is_drawing_until_it_differs():
    rng = np.random.default_rng(1)
    p = np.array([0.6, 0.3, 0.1])
    first, second = rng.choice(3, 200_000, p=p), rng.choice(3, 200_000, p=p)
    # rejection: only pairs that differ count, given the first
    rival = np.zeros(3)
    for leader in range(3):
        kept = second[(first == leader) & (second != leader)]
        rival += p[leader] * np.bincount(kept, minlength=3) / kept.size
    assert top_two(p) == pytest.approx(0.5 * p + 0.5 * rival, abs=0.01)


def test_a_prior_of_one_success_at_the_common_rate():
    alpha, beta = pooled_prior([3, 5], [200, 198])
    assert alpha == pytest.approx([1.0, 1.0])
    assert alpha / (alpha + beta) == pytest.approx([9 / 400] * 2)


def test_it_learns_and_its_propensities_are_exact():
    bandit = BernoulliBandit(3, floor=0.05, seed=3)
    rng = np.random.default_rng(4)
    rates = [0.05, 0.05, 0.4]
    shown = np.zeros(3)
    for _ in range(2000):
        arm, propensity = bandit.decide()
        assert propensity == bandit.propensities[arm]
        shown[arm] += 1
        bandit.update(arm, float(rng.random() < rates[arm]))
    assert shown[2] > 1600
    assert min(bandit.propensities) >= 0.05 - 1e-12
    assert math.fsum(bandit.propensities) == pytest.approx(1.0)
    drawn = np.bincount([bandit.decide()[0] for _ in range(20_000)], minlength=3) / 20_000
    assert drawn == pytest.approx(bandit.propensities, abs=0.015)


def test_same_seed_same_run():
    def run(seed):
        bandit = BernoulliBandit(4, seed=seed)
        arms = []
        for step in range(300):
            arm, _ = bandit.decide()
            arms.append(arm)
            bandit.update(arm, step % 3 == 0)
        return arms

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_outcomes_may_come_in_batches_and_late():
    at_once, later = BernoulliBandit(2), BernoulliBandit(2)
    for _ in range(10):
        at_once.update(0, 1.0)
    later.update(0, 0.0, 10.0)
    later.update(0, 10.0, 0.0)
    assert later.posterior().alpha == pytest.approx(at_once.posterior().alpha)
    assert effective_trials([1, 5, 100], [2, 4, 6, 8]) == pytest.approx(0.0 + 0.5 + 1.0)
    assert effective_trials([1, 2], []) == 2.0


def test_a_discount_follows_a_change_of_taste():
    def best_after_change(discount):
        bandit = BernoulliBandit(2, floor=0.05, discount=discount, seed=5)
        rng = np.random.default_rng(6)
        for step in range(4000):
            rates = (0.3, 0.1) if step < 3500 else (0.1, 0.3)
            arm, _ = bandit.decide()
            bandit.update(arm, float(rng.random() < rates[arm]))
        return bandit.propensities[1]

    assert best_after_change(0.99) > 0.8
    assert best_after_change(0.99) > best_after_change(1.0)
    tiny = BernoulliBandit(2, discount=0.5)
    for _ in range(2000):
        tiny.update(0, 1.0)
    assert np.all(np.isfinite(tiny.posterior().alpha))


def test_revenue_prefers_the_arm_that_earns_more():
    rng = np.random.default_rng(7)
    # arm 1 sells half as often at four times the price
    p = revenue_chances([100, 50], [1000, 1000], [1000.0, 2000.0], [12_000.0, 90_000.0], rng)
    assert p[1] > 0.95
    assert revenue_chances([1, 1], [100, 100], [0, 0], [0, 0], rng) == pytest.approx([0.5, 0.5], abs=0.05)


def contextual_world(seed, arms=4, features=5):
    rng = np.random.default_rng(seed)
    return rng, rng.normal(size=(arms, features))


@pytest.mark.parametrize("kind", ["thompson", "ucb"])
def test_contextual_bandits_learn(kind):
    rng, truth = contextual_world(8)
    bandit = LinearBandit(4, 5, kind=kind, floor=0.0 if kind == "ucb" else 0.001, seed=1)
    lost = []
    for _ in range(3000):
        x = rng.normal(size=5)
        arm, propensity = bandit.decide(x)
        assert 0.0 < propensity <= 1.0
        means = truth @ x
        lost.append(means.max() - means[arm])
        bandit.update(arm, x, means[arm] + rng.normal(0.0, 0.3))
    assert np.mean(lost[-500:]) < 0.05
    assert np.mean(lost[:20]) > 1.0


def test_its_inverse_is_the_inverse_and_batches_are_the_same():
    rng, truth = contextual_world(9)
    one, many = LinearBandit(4, 5, ridge=2.0, width=0.5), LinearBandit(4, 5, ridge=2.0, width=0.5)
    x = rng.normal(size=(60, 5))
    arms = rng.integers(0, 4, 60)
    rewards = (truth[arms] * x).sum(axis=1)
    for arm, context, reward in zip(arms, x, rewards, strict=True):
        one.update(int(arm), context, float(reward))
    many.update_many(arms, x, rewards)
    assert one.theta == pytest.approx(many.theta)
    mine = x[arms == 2]
    gram = 2.0 * np.eye(5) + mine.T @ mine
    assert one.theta[2] == pytest.approx(np.linalg.solve(gram, mine.T @ rewards[arms == 2]))
    assert one._inverse[2] == pytest.approx(0.25 * np.linalg.inv(gram))


def test_contextual_propensities_are_those_used():
    rng, truth = contextual_world(10, arms=3)
    bandit = LinearBandit(3, 5, floor=0.05, width=1.0, prior=0.2 * truth, seed=2)
    x = rng.normal(size=5)
    seen = [bandit.decide(x) for _ in range(30_000)]
    arms = np.array([arm for arm, _ in seen])
    weights = np.array([1.0 / propensity for _, propensity in seen])
    # importance weights of exact propensities average to one, arm by arm
    for arm in range(3):
        assert (weights * (arms == arm)).mean() == pytest.approx(1.0, abs=0.15)
    ucb = LinearBandit(3, 5, kind="ucb", floor=0.1, prior=truth)
    best = int((truth @ x + 0.2 * np.linalg.norm(x)).argmax())
    chosen = dict(ucb.decide(x) for _ in range(500))
    assert chosen[best] == pytest.approx(0.8)
    assert all(p == pytest.approx(0.1) for arm, p in chosen.items() if arm != best)


def test_a_contextual_discount_forgets():
    bandit = LinearBandit(1, 1, discount=0.9)
    for _ in range(200):
        bandit.update(0, np.ones(1), 1.0)
    for _ in range(30):
        bandit.update(0, np.ones(1), 0.0)
    assert bandit.theta[0, 0] < 0.1


@pytest.mark.parametrize(
    "make",
    [
        lambda: BernoulliBandit(0),
        lambda: BernoulliBandit(2, discount=1.5),
        lambda: LinearBandit(2, 0),
        lambda: LinearBandit(2, 3, prior=np.zeros((2, 2))),
        lambda: Trust().prior([1.0, np.nan]),
        lambda: Trust().learn([1.0, 2.0], [1, 2], [1, 1]),
        lambda: held_out("v", 1.0),
        lambda: arm_of("v", "exp", {1: 0.0}),
    ],
)
def test_bad_input_is_refused(make):
    with pytest.raises(InputError):
        make()


def test_trust_grows_with_a_good_model_and_dies_with_a_bad_one():
    rng = np.random.default_rng(11)
    good, bad = Trust(), Trust()
    for _ in range(150):
        z = rng.normal(size=4)
        rates = 0.02 * np.exp(0.1 * z + 0.17 * rng.normal(size=4))
        clicks = rng.binomial(500, rates)
        good = good.learn(z, clicks, [500] * 4)
        bad = bad.learn(-z, clicks, [500] * 4)
    assert 0.05 < good.slope < 0.14
    assert bad.slope < 0.0
    assert good.tests == 150
    assert good.rate == pytest.approx(0.02, rel=0.2)
    nothing = np.zeros(4)
    warm = good.prior([1, 2, 3, 4])(nothing, nothing)
    assert np.all(np.diff(warm.alpha / (warm.alpha + warm.beta)) > 0.0)
    cold = bad.prior([1, 2, 3, 4])(nothing, nothing)
    assert cold.alpha / (cold.alpha + cold.beta) == pytest.approx(np.full(4, bad.rate))
    assert good.learn([1, 2], [0, 0], [10, 10]) is good
    assert Trust().prior([5.0, 5.0])(nothing[:2], nothing[:2]).alpha[0] > 0.0


def test_a_warm_start_is_better_early():
    rng = np.random.default_rng(12)
    trust = Trust(slope=0.2, precision=2000.0, rate=0.05)
    gained = {"warm": 0.0, "cold": 0.0}
    for test in range(20):
        z = rng.normal(size=4)
        rates = 0.05 * np.exp(0.2 * (z - z.mean()) / z.std() + 0.1 * rng.normal(size=4))
        for name, prior in (("warm", trust.prior(z)), ("cold", pooled_prior)):
            bandit = BernoulliBandit(4, prior=prior, seed=test)
            for _ in range(120):
                arm, _ = bandit.decide()
                gained[name] += rates[arm]
                bandit.update(arm, float(rng.random() < rates[arm]))
    assert gained["warm"] > 1.05 * gained["cold"]


def test_assignment_is_sticky_uniform_and_independent():
    visitors = [f"visitor-{i}" for i in range(4000)]
    places = np.array([place_of(v, "layer-a") for v in visitors])
    others = np.array([place_of(v, "layer-b") for v in visitors])
    assert places.mean() == pytest.approx(0.5, abs=0.02)
    assert np.corrcoef(places, others)[0, 1] == pytest.approx(0.0, abs=0.05)
    assert place_of("v", "l") == place_of("v", "l")
    shares = {3: 0.2, 9: 0.5, 40: 0.3}
    before = {v: arm_of(v, "exp", shares) for v in visitors}
    dealt = [sum(arm == one for one in before.values()) / 4000 for arm in shares]
    assert dealt == pytest.approx([0.2, 0.5, 0.3], abs=0.03)
    # Only who saw what lost share moves, and only to what gained; a newcomer takes from all alike.
    after = {v: arm_of(v, "exp", {3: 0.1, 9: 0.5, 40: 0.4}) for v in visitors}
    assert {(before[v], after[v]) for v in visitors if before[v] != after[v]} <= {(3, 9), (3, 40), (9, 40)}
    joined = {v: arm_of(v, "exp", {3: 0.15, 9: 0.375, 40: 0.225, 41: 0.25}) for v in visitors}
    assert {after for v, after in joined.items() if before[v] != after} == {41}
    # The share of a side of a release only grows: who was in stays in.
    assert {v for v in visitors if place_of(v, "r") < 0.05} < {v for v in visitors if place_of(v, "r") < 0.25}


def test_layers_exclude_and_holdouts_hold():
    parts = [[in_part(f"v{i}", "layer", part) for i in range(2000)] for part in ((0.0, 0.5), (0.5, 0.8))]
    assert [sum(one) / 2000 for one in parts] == pytest.approx([0.5, 0.3], abs=0.04)
    assert not any(a and b for a, b in zip(*parts, strict=True))
    held = [held_out(f"v{i}", 0.1, "2026-q4") for i in range(2000)]
    again = [held_out(f"v{i}", 0.1, "2027-q1") for i in range(2000)]
    assert sum(held) / 2000 == pytest.approx(0.1, abs=0.03)
    assert held != again
