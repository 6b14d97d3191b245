"""Regret against Vowpal Wabbit, MABWiser and river; speed; warm start. ``python -m bench.experiments_bandits``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arauto.experiments import BernoulliBandit, LinearBandit, Posterior, Trust, pooled_prior
from bench.experiments_common import data_path, finish, peer
from bench.machine import write_result

Floats = NDArray[np.float64]
ARMS, FEATURES = 32, 16
PLAIN, CONTEXT = 10, 4
STEPS, CONTEXT_STEPS = 4000, 4000
FEW_ARMS, FEW_FEATURES = 10, 8
"""Of the contextual streams on which regret is compared: few enough to be learned in so many steps."""


def uniform_prior(successes: Floats, _trials: Floats) -> Posterior:
    return Posterior(np.ones(successes.shape), np.ones(successes.shape))


def plain_stream(seed: int) -> tuple[Floats, Floats]:
    """32 arms around a click rate of 5 %, log-normal with σ = 0.5, and a toss for each step."""
    rng = np.random.default_rng(seed)
    return np.minimum(0.05 * np.exp(0.5 * rng.normal(size=ARMS)), 0.6), rng.random(STEPS)


def context_stream(seed: int, arms: int, features: int) -> tuple[Floats, Floats, Floats]:
    """Features (one constant) and a click rate linear in them for each arm, around 20 %."""
    rng = np.random.default_rng(100 + seed)
    theta = rng.normal(size=(arms, features)) * 0.05
    contexts = rng.normal(size=(CONTEXT_STEPS, features))
    contexts[:, 0] = 1.0
    return np.clip(0.2 + contexts @ theta.T, 0.01, 0.99), rng.random(CONTEXT_STEPS), contexts


def play(
    choose: Callable[[int], int], learn: Callable[[int, int, float], None], means: Floats, tosses: Floats
) -> tuple[float, float]:
    """(regret, decisions + updates a CPU second)."""
    rows = means.tolist() if means.ndim == 2 else [means.tolist()] * tosses.size
    best = [max(row) for row in rows]
    coins = tosses.tolist()
    regret, began = 0.0, time.process_time()
    for step, toss in enumerate(coins):
        arm = choose(step)
        mean = rows[step][arm]
        regret += best[step] - mean
        learn(step, arm, 1.0 if toss < mean else 0.0)
    return regret, tosses.size / (time.process_time() - began)


def ours_plain(means: Floats, tosses: Floats, seed: int, **options: Any) -> tuple[float, float]:
    bandit = BernoulliBandit(ARMS, seed=seed, **options)
    return play(lambda _step: bandit.decide()[0], lambda _step, arm, reward: bandit.update(arm, reward), means, tosses)


def ours_context(means: Floats, tosses: Floats, contexts: Floats, kind: Any, seed: int) -> tuple[float, float]:
    bandit = LinearBandit(means.shape[1], contexts.shape[1], kind=kind, seed=seed)
    rows = list(contexts)
    return play(
        lambda step: bandit.decide(rows[step])[0],
        lambda step, arm, reward: bandit.update(arm, rows[step], reward),
        means,
        tosses,
    )


def summary(found: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    table = {}
    for name, runs in found.items():
        regret = np.array([run[0] for run in runs])
        table[name] = {
            "regret": float(regret.mean()),
            "standard_error": float(regret.std(ddof=1) / regret.size**0.5),
            "a_cpu_second": float(np.median([run[1] for run in runs])),
        }
    return dict(sorted(table.items(), key=lambda item: item[1]["regret"]))


def against_peers() -> dict[str, Any]:
    plain: dict[str, list[tuple[float, float]]] = {}
    context: dict[str, list[tuple[float, float]]] = {}
    arrays: dict[str, np.ndarray] = {}
    for seed in range(PLAIN):
        means, tosses = plain_stream(seed)
        arrays |= {f"plain_means_{seed}": means, f"plain_tosses_{seed}": tosses}
        plain.setdefault("arauto Thompson", []).append(ours_plain(means, tosses, seed))
        plain.setdefault("arauto Thompson, uniform prior, unsharpened", []).append(
            ours_plain(means, tosses, seed, prior=uniform_prior, sharpness=1.0)
        )
    for seed in range(CONTEXT):
        means, tosses, contexts = context_stream(seed, FEW_ARMS, FEW_FEATURES)
        arrays |= {
            f"context_means_{seed}": means,
            f"context_tosses_{seed}": tosses,
            f"context_contexts_{seed}": contexts,
        }
        for kind in ("thompson", "ucb"):
            context.setdefault(f"arauto linear {kind}", []).append(ours_context(means, tosses, contexts, kind, seed))
    others = peer("peers_bandits.py", ".venv-peers", {"plain_streams": PLAIN, "context_streams": CONTEXT}, arrays)
    for group, table in (("plain", plain), ("context", context)):
        table.update({name: [tuple(run) for run in runs] for name, runs in others.get(group, {}).items()})
    return {
        "missing": others.get("missing", ""),
        f"without context, {ARMS} arms, {STEPS} steps, {PLAIN} streams": summary(plain),
        f"with {FEW_FEATURES} features, {FEW_ARMS} arms, {CONTEXT_STEPS} steps, {CONTEXT} streams": summary(context),
    }


def speed() -> dict[str, Any]:
    """One event at a time: decide, then learn. Best of five."""
    means, tosses = plain_stream(0)
    long = np.random.default_rng(1).random(30_000)
    rates, coins, contexts = context_stream(0, ARMS, FEATURES)
    return {
        "thompson, 32 arms": max(ours_plain(means, long, 0, floor=0.001)[1] for _ in range(5)),
        **{
            f"linear {kind}, 32 arms, 16 features": max(
                ours_context(rates, coins, contexts, kind, 0)[1] for _ in range(5)
            )
            for kind in ("thompson", "ucb")
        },
        "numpy Beta Thompson, for scale": max(numpy_thompson(means, tosses) for _ in range(5)),
    }


def numpy_thompson(means: Floats, tosses: Floats) -> float:
    """The plainest way, 32 Beta draws a decision: 35,800 a CPU second on the quiet machine of docs' figures."""
    rng = np.random.default_rng(0)
    a, b = np.ones(ARMS), np.ones(ARMS)

    def learn(_step: int, arm: int, reward: float) -> None:
        a[arm] += reward
        b[arm] += 1.0 - reward

    return play(lambda _step: int(rng.beta(a, b).argmax()), learn, means, tosses)[1]


def upworthy_tests() -> list[Floats]:
    """Click rates of the arms that share a picture, by test, in the order of weeks; ≥ 3 arms, none without a click."""
    path = data_path("upworthy", "dev.parquet")
    if path is None:
        return []
    import polars as pl

    frame = pl.read_parquet(path).sort("test_week", "clickability_test_id")
    tests = []
    for _, rows in frame.group_by("clickability_test_id", maintain_order=True):
        sizes = rows.group_by("eyecatcher_id").len().sort("len", "eyecatcher_id")
        same = rows.filter(pl.col("eyecatcher_id") == sizes["eyecatcher_id"][-1])
        rates = (same["clicks"] / same["impressions"]).to_numpy()
        if rates.size >= 3 and rates.min() > 0.0:
            tests.append(rates)
    return tests


def replay_tests(tests: list[Floats], kind: str, seed: int, correlation: float = 0.4) -> dict[str, Any]:
    """Replay the tests one after another; the warm start learns its trust as it goes, from nothing known of the model.

    ``now``: the expected rate of the policy at that moment over the arms' mean, less one; ``so_far``: of all shown.
    """
    rng = np.random.default_rng(seed)
    trust = Trust()
    now: dict[int, list[float]] = {100: [], 300: []}
    so_far: dict[int, list[float]] = {100: [], 300: []}
    for rates in tests:
        arms = rates.size
        standard = (rates - rates.mean()) / max(rates.std(), 1e-12)
        scores = correlation * standard + (1.0 - correlation**2) ** 0.5 * rng.normal(size=arms)
        scores = -scores if kind == "reversed" else scores
        choices: dict[str, dict[str, Any]] = {
            "plain": {"prior": uniform_prior, "sharpness": 1.0},
            "pooled": {"prior": pooled_prior},
        }
        options = choices.get(kind, {"prior": trust.prior(scores), "sharpness": 3.0})
        bandit = BernoulliBandit(arms, seed=int(rng.integers(2**31)), floor=0.01, **options)
        tosses, listed, got = rng.random(300 * arms).tolist(), rates.tolist(), 0.0
        for step, toss in enumerate(tosses, 1):
            arm, _ = bandit.decide()
            got += listed[arm]
            bandit.update(arm, 1.0 if toss < listed[arm] else 0.0)
            if step in (100 * arms, 300 * arms):
                now[step // arms].append(float(np.dot(bandit.propensities, rates) / rates.mean()) - 1.0)
                so_far[step // arms].append(got / step / float(rates.mean()) - 1.0)
        trust = trust.learn(scores, bandit.successes, bandit.trials)
    return {
        **{f"lift_now_at_{n}": float(np.mean(found)) for n, found in now.items()},
        **{f"lift_so_far_at_{n}": float(np.mean(found)) for n, found in so_far.items()},
        "standard_error_at_300": float(np.std(now[300]) / len(now[300]) ** 0.5),
        "learned_slope": trust.slope,
    }


def warm_start() -> dict[str, Any]:
    tests = upworthy_tests()
    if not tests:
        return {"missing": "upworthy/dev.parquet: set ARAUTO_DATA_DIR"}
    found = {kind: replay_tests(tests, kind, 0) for kind in ("plain", "pooled", "warm", "reversed")}
    return {
        "tests": len(tests),
        **found,
        "warm_at_100_less_plain_at_300": found["warm"]["lift_now_at_100"] - found["plain"]["lift_now_at_300"],
        "loss_of_a_reversed_prior_at_300": found["plain"]["lift_now_at_300"] - found["reversed"]["lift_now_at_300"],
    }


def main() -> dict[str, Any]:
    started = time.process_time()
    regret, fast, warm = against_peers(), speed(), warm_start()
    tables = [table for name, table in regret.items() if name != "missing"]
    passed = (
        not regret["missing"]
        and all(next(iter(table)).startswith("arauto") for table in tables)
        and fast["thompson, 32 arms"] >= 50_000
        and min(rate for name, rate in fast.items() if name.startswith("linear")) >= 25_000
        and warm.get("warm_at_100_less_plain_at_300", -1.0) >= 0.0
        and warm.get("loss_of_a_reversed_prior_at_300", 1.0) < 0.01
    )
    figures = {"regret": regret, "decide + update a CPU second": fast, "upworthy": warm}
    return finish(figures, started, passed=bool(passed))


if __name__ == "__main__":
    write_result("experiments_bandits", main())
