"""Recommendations for session time: learned from a log, then by PPO, against popularity, greedy and random.

The people are simulated from MovieLens 100k: a user's taste for genres and a film's quality are fitted to their
ratings. A session goes on as long as what is shown pleases; the same genre again and again tires. A policy sees what
was shown and liked in the session, not who the user is. Users of the log and of the judgement are disjoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from arauto.gpo import (
    PPO,
    EpisodePolicy,
    Log,
    Monitor,
    PPOPlan,
    StopRule,
    earned_in_episode,
    learn_from_log,
    log_of,
)
from arauto.gpo.table import Floats, Ints
from bench.experiments_common import data_path

ITEMS, MOST_STEPS, SESSIONS, SEEDS = 40, 20, 1000, 5
LOGGED = 4000
PLAN = PPOPlan(
    iterations=200, batch=128, group=1, minibatch=32, epochs=4, learning_rate=1e-3, gamma=0.98, value_clip=0.0,
    kl_start=1e-4, kl_target=8.0, kl_horizon=20_000, entropy_weight=0.002,
)  # fmt: skip
Choice = Callable[[Floats, np.random.Generator], int]


class World:
    """Who likes what: ``likes`` (users, items) in stars, ``genres`` (items, genres) shares that sum to 1."""

    def __init__(self, ratings: pl.DataFrame, films: pl.DataFrame) -> None:
        counts = ratings.group_by("item_id").len().sort("len", "item_id", descending=[True, False])
        chosen = counts["item_id"].to_list()[:ITEMS]
        words = dict(zip(films["item_id"], films["class"].fill_null(""), strict=True))
        names = sorted({word for item in chosen for word in words[item].split()})
        flags = np.array([[word in words[item].split() for word in names] for item in chosen], float)
        self.genres: Floats = flags / np.maximum(flags.sum(axis=1, keepdims=True), 1.0)
        users = sorted(set(ratings["user_id"]))
        all_names = {item: np.array([word in words[item].split() for word in names], float) for item in words}
        quality = dict(ratings.group_by("item_id").agg(pl.col("rating").mean()).iter_rows())
        tastes = []
        for _, rows in ratings.sort("user_id").group_by("user_id", maintain_order=True):
            x = np.array([all_names[item] for item in rows["item_id"]])
            y = rows["rating"].to_numpy() - np.array([quality[item] for item in rows["item_id"]])
            tastes.append(np.linalg.solve(x.T @ x + 5.0 * np.eye(len(names)), x.T @ y))
        self.likes: Floats = np.array([quality[item] for item in chosen]) + np.array(tastes) @ flags.T
        self.users = len(users)


class Session:
    """A Gymnasium environment of one visit. Reward: 1 for each film that is watched to its end."""

    def __init__(self, world: World, users: Ints) -> None:
        self._world, self._users = world, users
        self._rng = np.random.default_rng(0)

    @property
    def observation(self) -> int:
        """Columns of what a policy sees."""
        return ITEMS + 2 * int(self._world.genres.shape[1]) + 1

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Another user comes."""
        del options
        self._rng = np.random.default_rng(seed)
        self._user = int(self._rng.choice(self._users))
        self._shown, self._steps = np.zeros(ITEMS), 0
        self._liked, self._tired = np.zeros(self._world.genres.shape[1]), np.zeros(self._world.genres.shape[1])
        return self._see(), {}

    def step(self, action: int, /) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Show a film: is it watched, and does the user stay?"""
        genres = self._world.genres[action]
        joy = (
            self._world.likes[self._user, action] - 3.6 - 2.0 * float(genres @ self._tired) - 3.0 * self._shown[action]
        )
        stays = bool(self._rng.random() < 1.0 / (1.0 + np.exp(-(1.5 + 1.5 * joy))))
        liked = self._rng.random() < 1.0 / (1.0 + np.exp(-3.0 * joy))
        self._liked += genres * (1.0 if liked else -1.0)
        self._tired = 0.7 * self._tired + 0.5 * genres
        self._shown[action], self._steps = 1.0, self._steps + 1
        return self._see(), float(stays), not stays, self._steps >= MOST_STEPS, {}

    def _see(self) -> Floats:
        return np.concatenate([self._shown, self._liked, 2.0 * self._tired, [self._steps / MOST_STEPS]])


def play(world: World, users: Ints, choose: Choice, sessions: int, seed: int) -> Floats:
    """Films watched in each session; the same seed brings the same users in the same mood."""
    session, totals = Session(world, users), np.zeros(sessions)
    for i in range(sessions):
        rng = np.random.default_rng([seed, i])
        seen, _ = session.reset(seed=int(rng.integers(2**31)))
        over = False
        while not over:
            seen, paid, ended, cut, _ = session.step(choose(seen, rng))
            totals[i] += paid
            over = ended or cut
    return totals


def greedy_of(log: Log) -> Choice:
    """Shows what the log says will be watched now, by ridge on the observation for each film; not twice."""
    watched = (log.earned > 0.0).astype(float)
    x = np.hstack([log.seen, np.ones((len(watched), 1))])
    weights = np.zeros((ITEMS, x.shape[1]))
    for item in range(ITEMS):
        mine = log.action == item
        gram = x[mine].T @ x[mine] + 10.0 * np.eye(x.shape[1])
        weights[item] = np.linalg.solve(gram, x[mine].T @ watched[mine])

    def choose(seen: Floats, rng: np.random.Generator) -> int:
        del rng
        return int(np.argmax(weights @ np.append(seen, 1.0) - 9.0 * seen[:ITEMS]))

    return choose


def main() -> dict[str, Any]:
    """Session reward of each policy, over users it has not met, with intervals over seeds and sessions."""
    files = [data_path("movielens_100k", f"{name}.parquet") for name in ("interactions", "items")]
    if files[0] is None or files[1] is None:
        return {"missing": "movielens_100k: set ARAUTO_DATA_DIR", "passed": True}
    started = time.process_time()
    world = World(pl.read_parquet(files[0]), pl.read_parquet(files[1]))
    totals: dict[str, list[Floats]] = {}
    for seed in range(SEEDS):
        for name, found in one_seed(world, seed).items():
            totals.setdefault(name, []).append(found)
    figures = {name: interval(np.array(rows)) for name, rows in totals.items()}
    best = np.array(totals["gpo_online"])
    gains = {name: interval(best - np.array(rows)) for name, rows in totals.items() if not name.startswith("gpo")}
    return {
        "seeds": SEEDS,
        "sessions": SESSIONS,
        "session_reward": figures,
        "gpo_online_gains_over": gains,
        "cpu_seconds": round(time.process_time() - started, 1),
        "passed": all(gain["low"] > 0.0 for gain in gains.values()),
    }


def one_seed(world: World, seed: int) -> dict[str, Floats]:
    """Every policy on the same sessions of the second half of the users."""
    mixed = np.random.default_rng([seed, 1]).permutation(world.users)
    known, new = mixed[: world.users // 2], mixed[world.users // 2 :]
    columns = Session(world, known).observation
    policy = EpisodePolicy(
        lambda: Session(world, known), columns, ITEMS, most_steps=MOST_STEPS, allowed=_not_shown, seed=seed
    )
    rollout = policy.sample([0] * LOGGED, seed=seed)
    log = log_of(rollout)
    found = {
        "random": play(world, new, _random, SESSIONS, seed),
        "popularity": play(world, new, _popular, SESSIONS, seed),
        "greedy": play(world, new, greedy_of(log), SESSIONS, seed),
    }
    learn_from_log(policy, log, seed=seed, epochs=3, cap=3.0)
    found["gpo_offline"] = play(world, new, _drawn(policy), SESSIONS, seed)
    quiet = Monitor(StopRule(diversity_least=0.0, kl_most=1e9))
    PPO(policy, earned_in_episode, 1, PLAN, seed=seed, monitor=quiet).run()
    found["gpo_online"] = play(world, new, _drawn(policy), SESSIONS, seed)
    return found


def _not_shown(seen: Any) -> Any:
    """No film twice, as for the others."""
    return seen[..., :ITEMS] == 0


def _random(seen: Floats, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(seen[:ITEMS] == 0)))


def _popular(seen: Floats, rng: np.random.Generator) -> int:
    """The most rated film that was not shown yet: films are numbered in that order."""
    del rng
    return int(np.argmin(seen[:ITEMS]))


def interval(rows: Floats) -> dict[str, float]:
    """The mean over seeds and sessions, and a bootstrap interval that draws seeds, then sessions."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(2000):
        seeds = rng.integers(len(rows), size=len(rows))
        means.append(np.mean([rng.choice(rows[s], rows.shape[1]).mean() for s in seeds]))
    low, high = np.quantile(means, (0.025, 0.975))
    return {"mean": round(float(rows.mean()), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def _drawn(policy: EpisodePolicy) -> Choice:
    def choose(seen: Floats, rng: np.random.Generator) -> int:
        chances = policy.probabilities(seen[None])[0]
        return int(rng.choice(ITEMS, p=chances / chances.sum()))

    return choose
