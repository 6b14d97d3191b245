import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.experiments.offpolicy import Log, evaluate_policy, overlap_of
from arauto.experiments.offpolicy.estimators import dm, dr, dros, ips, mrdr, sndr, snips, switch
from arauto.experiments.offpolicy.evaluate import bootstrap, choose, standard_error
from arauto.experiments.offpolicy.reward import cross_fit

ARMS = 5


def softmax(scores):
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    return 0.95 * p / p.sum(axis=1, keepdims=True) + 0.05 / scores.shape[1]


def world(rng, n, *, sharp=1.5, binary=True, visits=1):
    """A logged bandit with a context that matters, and the target policy's true value."""
    taste, level = rng.normal(size=(ARMS, 2)), rng.normal(size=ARMS) * 0.4

    def truth_of(x):
        return 1.0 / (1.0 + np.exp(1.5 - level - x @ taste.T - 0.3 * np.sin(3.0 * x[:, :1])))

    x = np.repeat(rng.normal(size=(n // visits, 2)), visits, axis=0)
    logging, target = softmax(0.5 * (x @ taste.T)[:, ::-1]), softmax(sharp * (x @ taste.T + level))
    mean = truth_of(x)
    arms = (rng.random(n)[:, None] > logging.cumsum(axis=1)[:, :-1]).sum(axis=1)
    chance = mean[np.arange(n), arms]
    rewards = (rng.random(n) < chance).astype(float) if binary else chance + rng.normal(0.0, 0.3, n)
    wide = rng.normal(size=(40_000, 2))
    value = float((softmax(sharp * (wide @ taste.T + level)) * truth_of(wide)).sum(axis=1).mean())
    log = Log.checked(
        arms,
        rewards,
        logging[np.arange(n), arms],
        target,
        context=x,
        clusters=np.arange(n) // visits,
    )
    return log, value


@pytest.mark.no_cover
def test_the_interval_covers_the_truth():
    rng = np.random.default_rng(1)
    covered = errors = naive = runs = 0.0
    for _ in range(40):
        log, value = world(rng, 500)
        answer = evaluate_policy(log, rng)
        if answer.value is None or answer.interval is None:
            assert answer.overlap.effective < 100
            continue
        runs += 1
        covered += answer.interval.low <= value <= answer.interval.high
        errors += (answer.value - value) ** 2
        naive += (answer.baseline - value) ** 2
    assert runs >= 30
    assert covered >= 0.9 * runs
    assert errors < 0.25 * naive


def test_it_abstains_when_the_log_cannot_tell():
    rng = np.random.default_rng(2)
    n = 2000
    logging = np.full((n, 4), 0.001 / 3)
    logging[:, 0] = 0.999
    arms = (rng.random(n)[:, None] > logging.cumsum(axis=1)[:, :-1]).sum(axis=1)
    rewards = (rng.random(n) < 0.1).astype(float)
    wanted = np.array([0.0, 0.4, 0.3, 0.3])
    answer = evaluate_policy(Log.checked(arms, rewards, logging[np.arange(n), arms], wanted), rng)
    assert answer.value is None
    assert answer.interval is None
    assert "effective sample size" in answer.abstains
    assert set(answer.estimates) == {"dm", "ips", "snips", "dr", "sndr", "dros", "switch", "mrdr"}


@pytest.mark.parametrize(
    ("arms", "rewards", "propensities", "target", "reason"),
    [
        (np.tile([0, 1], 500), np.ones(1000), np.full(1000, 0.5), [0.4, 0.4, 0.2], "were never shown"),
        (np.tile([0, 1], 500), np.zeros(1000), np.full(1000, 0.5), [0.5, 0.5], "were rewarded"),
        (np.tile([0, 1], 500), np.ones(1000), np.full(1000, 0.1), [0.5, 0.5], "weights' mean"),
    ],
)
def test_each_reason_to_abstain(arms, rewards, propensities, target, reason):
    answer = evaluate_policy(Log.checked(arms, rewards, propensities, target), np.random.default_rng(0))
    assert reason in answer.abstains


def test_one_visitor_may_not_carry_the_answer():
    arms, clusters = np.tile([0, 1], 600), np.arange(1200)
    clusters[:500] = 0
    log = Log.checked(arms, np.tile([0.0, 1.0], 600), np.full(1200, 0.5), [0.5, 0.5], clusters=clusters)
    report = overlap_of(log)
    assert report.visitors == 701
    assert report.top_share == pytest.approx(500 / 1200)
    assert report.effective < 100
    assert evaluate_policy(log, np.random.default_rng(0)).abstains


def test_estimators_agree_where_they_must():
    rng = np.random.default_rng(3)
    log, _ = world(rng, 600)
    q = cross_fit(log, rng)
    assert q.shape == (600, ARMS)
    assert dros(log, q, 0.0).value == pytest.approx(dm(log, q).value)
    assert dros(log, q, np.inf).value == pytest.approx(dr(log, q).value)
    assert dros(log, q, 1e12).value == pytest.approx(dr(log, q).value)
    assert switch(log, q, 1e9).value == pytest.approx(dr(log, q).value)
    assert switch(log, q, 0.0).value == pytest.approx(dm(log, q).value)
    assert dr(log, np.zeros_like(q)).value == pytest.approx(ips(log).value)
    assert snips(log).value == pytest.approx(ips(log).value / log.weights.mean())
    assert sndr(log, np.zeros_like(q)).value == pytest.approx(snips(log).value)
    assert mrdr(log, rng).value == pytest.approx(dr(log, q).value, abs=0.1)


def test_the_logging_policy_itself_is_its_mean():
    rng = np.random.default_rng(4)
    share = np.array([0.2, 0.3, 0.5])
    arms = rng.choice(3, 900, p=share)
    rewards = (rng.random(900) < 0.2).astype(float)
    log = Log.checked(arms, rewards, share[arms], share)
    assert ips(log).value == pytest.approx(rewards.mean())
    assert overlap_of(log).effective == pytest.approx(900)
    answer = evaluate_policy(log, rng)
    assert answer.value == pytest.approx(answer.baseline, abs=0.005)


def test_visitors_are_resampled_whole():
    rng = np.random.default_rng(5)
    log, _ = world(rng, 400)
    many = Log.checked(
        np.tile(log.arms, 5),
        np.tile(log.rewards, 5),
        np.tile(log.propensities, 5),
        np.tile(log.target, (5, 1)),
        clusters=np.tile(np.arange(400), 5),
    )
    alone, together = standard_error(ips(log), log), standard_error(ips(many), many)
    assert together == pytest.approx(alone)
    drawn = bootstrap([ips(many), snips(many)], many, rng, 400)
    assert drawn.shape == (400, 2)
    assert drawn[:, 0].std() == pytest.approx(alone, rel=0.15)


def test_a_wrong_reward_model_is_not_chosen():
    rng = np.random.default_rng(6)
    log, _ = world(rng, 3000)
    q = cross_fit(log, rng)
    assert choose(log, np.zeros_like(q) + 0.9) > 100.0
    assert choose(log, q) < np.inf


def test_rewards_of_any_kind():
    rng = np.random.default_rng(7)
    log, value = world(rng, 2000, binary=False, visits=2)
    answer = evaluate_policy(log, rng)
    assert answer.value == pytest.approx(value, abs=0.05)
    assert answer.interval is not None
    assert answer.interval.high - answer.interval.low < 0.2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"arms": [0.5, 1.0]}, "arms"),
        ({"arms": [0, 3]}, "arms"),
        ({"rewards": [0.0, np.nan]}, "rewards"),
        ({"propensities": [0.5, 0.0]}, "propensities"),
        ({"target": [0.5, 0.6]}, "target"),
        ({"context": [[1.0]]}, "context"),
    ],
)
def test_a_bad_log_is_refused(change, field):
    good = {"arms": [0, 1], "rewards": [0.0, 1.0], "propensities": [0.5, 0.5], "target": [0.5, 0.5]}
    context = change.pop("context", None)
    good.update(change)
    with pytest.raises(InputError) as refused:
        Log.checked(**good, context=context)
    assert refused.value.field == field
