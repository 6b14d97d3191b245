"""Many rounds in one process: a model is learnt, masks change nothing, nobody is asked too often, ε is what is said."""

import numpy as np
import pytest

from arauto.core.errors import ConflictError, InputError
from arauto.core.spread import Stopped
from arauto.federated import Server, Training, train, training
from arauto.federated.audit import auc
from arauto.federated.clicks import chances, frequency_of, gradient, scale_of, tally

DIM, PEOPLE = 32, 120


def world(seed=0):
    draw = np.random.default_rng(seed)
    features = np.concatenate([np.zeros((PEOPLE, 20, 1), np.int64), draw.integers(1, DIM, (PEOPLE, 20, 3))], axis=2)
    truth = np.append(-1.0, draw.normal(0, 1, DIM - 1))
    clicks = (draw.random((PEOPLE, 20)) < 1 / (1 + np.exp(-truth[features].sum(axis=2)))).astype(float)
    return features, clicks


FEATURES, CLICKS = world()
HELD_X, HELD_Y = (part.reshape(-1, *part.shape[2:]) for part in world(0))


def learn(plan, server=None, **more):
    def update(weights, n):
        return gradient(weights, FEATURES[n], CLICKS[n])

    return train(np.zeros(DIM), update, PEOPLE, plan, server=server or Server(rate=0.3), **more)


def test_clicks_are_learnt_through_masks_and_drop_outs():
    heard = []
    found = learn(Training(rounds=24, clients=20, clip=20.0, vanish=0.2, check=12), told=lambda n, _: heard.append(n))
    assert heard == list(range(1, 25))
    assert (found.rounds, found.checked, found.participations, found.epsilon) == (24, 2, 4, -1.0)
    assert 24 * 12 < found.summed < 24 * 20
    assert auc(chances(found.weights, HELD_X), HELD_Y > 0) > 0.75


def test_noise_costs_what_is_said_and_learning_suffers_little_at_a_large_one():
    found = learn(Training(rounds=6, clients=20, clip=3.0, epsilon=40.0))
    assert found.epsilon == pytest.approx(40.0, rel=1e-3)
    assert found.participations == 1
    assert auc(chances(found.weights, HELD_X), HELD_Y > 0) > 0.6


def test_everyone_is_asked_once_before_anyone_is_asked_again():
    asked = []

    def update(weights, n):
        asked.append(n)
        return weights

    train(np.zeros(3), update, 10, Training(rounds=5, clients=4, clip=1.0))
    rounds = np.array(asked).reshape(5, 4)
    assert all(len(set(row)) == 4 for row in rounds.tolist())
    assert np.bincount(asked, minlength=10).max() <= 3
    assert len(set(asked[:8])) == 8


def test_what_cannot_be():
    with pytest.raises(InputError, match="population"):
        learn(Training(rounds=1, clients=121))
    with pytest.raises(ConflictError, match="delivered"):
        learn(Training(rounds=1, clients=20, vanish=0.9, epsilon=8.0))


def test_a_masked_sum_that_differs_is_a_fault(monkeypatch):
    from arauto.federated import training
    from arauto.federated.local import Round, play

    def wrong(*given, **more):
        found = play(*given, **more)
        return Round(found.outcome._replace(total=found.outcome.total + np.uint32(1)), "", {})

    monkeypatch.setattr(training, "play", wrong)
    with pytest.raises(ConflictError, match="not the plain one"):
        learn(Training(rounds=1, clients=9, check=1))


def test_scaled_buckets_are_the_same_model():
    tallies = np.mean([tally(one, DIM) for one in FEATURES], axis=0)
    frequency = frequency_of(tallies, 20, 0.001)
    truth = np.array([(bucket == FEATURES).any(axis=2).mean() for bucket in range(DIM)])
    assert frequency == pytest.approx(truth, rel=0.2)
    scale = scale_of(frequency)
    assert scale[0] == 1.0
    assert scale[1:].min() > 1.0
    weights = np.random.default_rng(0).normal(size=DIM)
    one, other = chances(weights, FEATURES[0], scale), chances(weights * scale, FEATURES[0])
    assert np.allclose(one, other)
    rise = 1e-6
    for bucket in (0, int(FEATURES[0, 0, 1])):
        moved = weights.copy()
        moved[bucket] += rise

        def likelihood(w):
            p = chances(w, FEATURES[0], scale)
            return (CLICKS[0] * np.log(p) + (1 - CLICKS[0]) * np.log(1 - p)).sum()

        slope = (likelihood(moved) - likelihood(weights)) / rise
        assert gradient(weights, FEATURES[0], CLICKS[0], scale)[bucket] == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_the_same_seeds_make_the_same_model_in_whatever_parts(monkeypatch):
    plan = Training(rounds=2, clients=24, clip=5.0, epsilon=20.0, vanish=0.2, assured=0.6, check=2)
    one = learn(plan, seed=1, noise=5)
    monkeypatch.setattr(training, "AT_ONCE", 7)
    other = learn(plan, seed=1, noise=5)
    assert (one.weights == other.weights).all()
    assert one.checked == other.checked == 1
    assert (learn(plan, seed=1, noise=6).weights != one.weights).any()
    assert (learn(plan, seed=1).weights != learn(plan, seed=1).weights).any()


def test_a_training_stops_when_it_is_told_to():
    heard = []
    with pytest.raises(Stopped):
        learn(Training(rounds=9, clients=3, clip=1.0), told=lambda n, _: heard.append(n), stopped=lambda: bool(heard))
    assert heard == [1]
