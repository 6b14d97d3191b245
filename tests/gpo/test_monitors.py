import numpy as np
import pytest

from arauto.gpo import Monitor, Reading, Rewards, StopRule
from arauto.gpo.monitors import diversity, follows, truth


def reading(iteration, proxy, gold, **changes):
    """A batch of which every text was audited."""
    mean, error = (np.mean(proxy), np.std(proxy) / len(proxy) ** 0.5) if len(proxy) else (0.0, 0.0)
    base = {
        "reward": float(mean), "reward_error": float(error), "kl": 1.0, "beta": 0.1, "clip_fraction": 0.1,
        "entropy": 1.0, "length": 9.0, "diversity": 0.9, "value_loss": 0.1, "disagreement": 0.1, "violations": 0.0,
    }  # fmt: skip
    return Reading(
        iteration=iteration, audits=list(zip(map(float, proxy), map(float, gold), strict=True)), **base | changes
    )


def run(slope, level, iterations=40, seed=0, texts=20, **changes):
    """Truth follows the proxy by ``slope(t)`` and has mean ``level(t)``."""
    rng = np.random.default_rng(seed)
    monitor = Monitor(StopRule())
    for t in range(iterations):
        proxy = rng.normal(t * 0.05, 0.3, texts)
        gold = level(t) + slope(t) * (proxy - t * 0.05) + rng.normal(0, 0.1, texts)
        monitor.observe(reading(t, proxy, gold, **changes))
        if (verdict := monitor.verdict()) is not None:
            return monitor, verdict
    return monitor, None


@pytest.mark.parametrize("seed", range(5))
def test_an_honest_run_goes_on(seed):
    monitor, verdict = run(lambda t: 0.8, lambda t: 0.04 * t, seed=seed)
    assert verdict is None
    assert monitor.best() >= 35


def test_truth_that_stops_following_stops_the_run():
    _, verdict = run(lambda t: 0.8 if t < 15 else -0.3, lambda t: 0.04 * min(t, 15))
    assert verdict.rule == "truth_turned"
    assert 15 <= verdict.iteration <= 24


def test_truth_that_falls_stops_the_run():
    _, verdict = run(lambda t: 0.8, lambda t: 0.05 * t if t < 15 else 0.75 - 0.06 * (t - 15))
    assert verdict.rule == "truth_fell"
    assert verdict.iteration < 32


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"kl": 99.0}, "kl"),
        ({"diversity": 0.1}, "diversity"),
        ({"disagreement": 0.9}, "disagreement"),
        ({"violations": 0.5}, "violations"),
    ],
)
def test_hard_limits_say_why(changes, rule):
    monitor = Monitor()
    for t in range(4):
        monitor.observe(reading(t, [0.0, 1.0], [0.0, 1.0]))
    assert monitor.verdict() is None
    monitor.observe(reading(4, [0.0, 1.0], [0.0, 1.0], **changes))
    verdict = monitor.verdict()
    assert verdict.rule == rule
    assert verdict.reason


def test_without_audits_only_the_hard_limits_speak():
    monitor = Monitor()
    for t in range(30):
        monitor.observe(reading(t, [], [], reward=float(t)))
    assert monitor.suspicions() == (0.0, 0.0)
    assert monitor.verdict() is None
    assert monitor.best() == 29
    assert Monitor().best() == -1


def test_the_gap_corrects_the_proxy():
    means, errors = truth([reading(0, [1.0, 2.0], [0.0, 1.1])], 5)
    assert means[0] == pytest.approx(0.55)
    assert errors[0] == pytest.approx(np.hypot(np.std([-1.0, -0.9], ddof=1), 0.5) / np.sqrt(2))


def test_follows_is_a_correlation_within_iterations():
    rows = [reading(0, [10, 11, 12], [1, 2, 3]), reading(1, [0, 1, 2], [5, 6, 7])]
    assert follows(rows, 6) == pytest.approx(1.0)
    assert follows([reading(0, [1, 2, 3], [3, 2, 1])], 3) == pytest.approx(-1.0)
    assert follows([reading(0, [1, 2], [1, 1])], 2) == 0.0
    assert follows(rows, 7) is None
    assert follows([reading(0, [1], [1])] * 9, 2) is None


def test_few_audits_an_iteration_need_more_iterations():
    """Six audits each: nothing is said of the correlation before there are 125 of them."""
    rng = np.random.default_rng(0)
    monitor = Monitor(StopRule(fallen_z=1e9))
    for t in range(40):
        proxy = rng.normal(0.0, 0.3, 6)
        monitor.observe(reading(t, proxy, rng.normal(0.0, 0.3, 6) if t > 24 else proxy))
        assert (monitor.suspicions()[0] > 0.0) == (t >= 20)


def test_a_reading_keeps_only_what_was_bought():
    earned = Rewards(np.array([1.0, 2.0]), np.array([0.1, 0.3]), np.array([0.0, 1.0]), np.array([np.nan, 5.0]))
    seen = Reading.of(3, ["a b c", "a b d"], earned, kl=1, beta=1, clip_fraction=0, value_loss=0, entropy=0, length=3)
    assert seen.audits == [(2.0, 5.0)]
    assert seen.violations == 0.5
    assert seen.diversity == pytest.approx(0.75)
    assert diversity(["one"]) == 0.0
