"""Runs in the peers' environment: Vowpal Wabbit, MABWiser and river on streams made by bench/experiments_bandits.py."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

Player = tuple[Callable[[Any], Any], Callable[[Any, int, float], Any]]
"""Choose an arm for a context; learn (context, arm, reward)."""


def river_thompson(arms: int, seed: int) -> Player:
    from river import bandit, proba  # type: ignore[import-not-found]

    policy = bandit.ThompsonSampling(reward_obj=proba.Beta(), seed=seed)
    return lambda _: policy.pull(range(arms)), lambda _, arm, reward: policy.update(arm, reward)


def mabwiser_thompson(arms: int, seed: int) -> Player:
    from mabwiser.mab import MAB, LearningPolicy  # type: ignore[import-not-found]

    mab = MAB(list(range(arms)), LearningPolicy.ThompsonSampling(), seed=seed)
    mab.fit(list(range(arms)), [0] * arms)
    return lambda _: mab.predict(), lambda _, arm, reward: mab.partial_fit([arm], [int(reward)])


def mabwiser_linucb(arms: int, seed: int) -> Player:
    from mabwiser.mab import MAB, LearningPolicy

    mab = MAB(list(range(arms)), LearningPolicy.LinUCB(alpha=0.3), seed=seed)
    rng = np.random.default_rng(seed)
    learners = [mab.fit]

    def learn(x: Any, arm: int, reward: float) -> None:
        learners[0]([arm], [reward], x[None])
        learners[0] = mab.partial_fit

    return lambda x: int(rng.integers(arms)) if learners[0] == mab.fit else mab.predict(x[None]), learn


def river_linucb(arms: int, seed: int) -> Player:
    from river import bandit

    policy = bandit.LinUCBDisjoint(alpha=0.3, seed=seed)

    def row(x: Any) -> dict[str, float]:
        return {str(place): value for place, value in enumerate(x.tolist())}

    def learn(x: Any, arm: int, reward: float) -> None:
        policy.update(arm, row(x), reward)

    return lambda x: policy.pull(list(range(arms)), context=row(x)), learn


def vowpal(exploration: str, arms: int, seed: int) -> Player:
    import vowpalwabbit  # type: ignore[import-not-found]

    work = vowpalwabbit.Workspace(f"--cb_explore {arms} {exploration} --random_seed {seed + 1} --quiet")
    rng = np.random.default_rng(seed)
    chance = [1.0]

    def text(x: Any) -> str:
        return "| c:1" if x is None else "| " + " ".join(f"f{i}:{v:.5f}" for i, v in enumerate(x))

    def choose(x: Any) -> int:
        p = np.asarray(work.predict(text(x)))
        p = p / p.sum()
        arm = int(rng.choice(arms, p=p))
        chance[0] = float(p[arm])
        return arm

    def learn(x: Any, arm: int, reward: float) -> None:
        work.learn(f"{arm + 1}:{-reward}:{chance[0]:.6f} {text(x)}")

    return choose, learn


def play(player: Player, means: Any, tosses: Any, contexts: Any) -> tuple[float, float]:
    choose, learn = player
    regret, began = 0.0, time.process_time()
    for step, toss in enumerate(tosses):
        x = None if contexts is None else contexts[step]
        mean = means if contexts is None else means[step]
        arm = int(choose(x))
        regret += float(mean.max() - mean[arm])
        learn(x, arm, float(toss < mean[arm]))
    return regret, len(tosses) / (time.process_time() - began)


PLAIN: dict[str, Callable[[int, int], Player]] = {
    "river Thompson": river_thompson,
    "MABWiser Thompson": mabwiser_thompson,
    "Vowpal Wabbit, cover 3": partial(vowpal, "--cover 3"),
    "Vowpal Wabbit, squarecb": partial(vowpal, "--squarecb"),
}
CONTEXT: dict[str, Callable[[int, int], Player]] = {
    "river LinUCB": river_linucb,
    "MABWiser LinUCB": mabwiser_linucb,
    "Vowpal Wabbit, cover 3": partial(vowpal, "--cover 3"),
    "Vowpal Wabbit, squarecb": partial(vowpal, "--squarecb"),
}


def main(question: str, answer: str) -> None:
    data = np.load(question)
    given = json.loads(str(data["given"]))
    found: dict[str, dict[str, list[tuple[float, float]]]] = {"plain": {}, "context": {}}
    for seed in range(given["plain_streams"]):
        means, tosses = data[f"plain_means_{seed}"], data[f"plain_tosses_{seed}"]
        for name, make in PLAIN.items():
            found["plain"].setdefault(name, []).append(play(make(means.size, seed), means, tosses, None))
    for seed in range(given["context_streams"]):
        means, tosses, contexts = (data[f"context_{part}_{seed}"] for part in ("means", "tosses", "contexts"))
        for name, make in CONTEXT.items():
            run = play(make(means.shape[1], seed), means, tosses, contexts)
            found["context"].setdefault(name, []).append(run)
    Path(answer).write_text(json.dumps(found), "utf-8")


main(*sys.argv[1:])
