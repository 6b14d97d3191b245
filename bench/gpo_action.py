"""Overcooked from people's play: a clone, PPO beside it, each stage's score beside the paper's figures.

Carroll et al. 2019, "On the Utility of Learning about Humans for Human-AI Coordination" (1910.05789). The games are
those of the paper, from the package ``overcooked-ai``: one half of the people is imitated, the other half's clone, the
human proxy, is who a policy is judged beside. As in the paper a game has 400 steps, a pair plays 100, seats count.

We learn in ``bench/kitchen.py``; the package itself, in an environment of its own, plays the people's games, ours step
by step, and some of the judgement, and must agree::

    python -m venv .venv-peers-overcooked && .venv-peers-overcooked/bin/pip install -r bench/peers-overcooked.txt
    .venv-peers-overcooked/bin/pip install --no-deps overcooked-ai==1.1.0
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from arauto.gpo import (
    Demonstrations,
    EpisodePolicy,
    PPOPlan,
    imitate,
    learn_from_people,
    read_demonstrations,
)
from arauto.gpo.extras import need
from arauto.gpo.table import Floats
from bench.experiments_common import peer
from bench.gpo_ranking import interval
from bench.kitchen import ACTIONS, HORIZON, WIDTH, Kitchen, Past, Player, Room, Shift, View, play

VENV, SB3 = ".venv-peers-overcooked", ".venv-peers-gpo"
SEEDS, GAMES = 3, 100
CLONING, CLONING_RATE = 40, 3e-3
AGREED = 5
"""Games of each pair and seat that the package itself plays."""
PEER_SEEDS = 3
PEERED = "cramped_room"
"""Where Stable-Baselines3 is measured, too."""
ITERATIONS = {"cramped_room": 40, "asymmetric_advantages": 70}
"""Of 12,000 steps each: 480,000 and 840,000 where the paper took 8 and 10 million, from chance."""
PLAN = PPOPlan(
    batch=30, group=1, minibatch=3, epochs=4, learning_rate=1e-3, gamma=0.99, lam=0.98, value_clip=0.0,
    entropy_weight=0.01, kl_start=0.001, kl_target=150.0, kl_horizon=500,
)  # fmt: skip
PAPER: dict[str, dict[str, float | tuple[float, float]]] = {
    "cramped_room": {
        "people": 97.5,
        "clone + clone": 109.5,
        "proxy + proxy": 115.0,
        "clone + proxy": (103.5, 110.0),
        "ppo + proxy": (156.4, 163.9),
        "ppo + clone": (163.7, 169.9),
    },
    "asymmetric_advantages": {
        "people": 158.3,
        "clone + clone": 136.0,
        "proxy + proxy": 140.5,
        "clone + proxy": (136.5, 137.5),
        "ppo + proxy": (72.6, 178.8),
        "ppo + clone": (127.0, 185.2),
    },
}
"""What its figure 4 draws, from its data (``ppo_bc_``, ``best_bc_models_performance``, ``hh_performance`` of
github.com/HumanCompatibleAI/human_aware_rl), means over five seeds. The first of two: with the policy in seat 0.
Its "ppo + clone" is of the other half: learned beside the proxy, judged beside the proxy."""


def main() -> dict[str, Any]:
    """Every layout. It passes when the package agrees with our kitchen, and PPO gains on the clone in each."""
    with ProcessPoolExecutor(len(PAPER), mp_context=multiprocessing.get_context("spawn")) as both:
        found = dict(zip(PAPER, both.map(one_layout, PAPER), strict=True))
    if any("missing" in figures for figures in found.values()):
        return {"layouts": found, "passed": True}
    return {
        "seeds": SEEDS,
        "games": GAMES,
        "steps_learned_in": {layout: count * PLAN.batch * HORIZON for layout, count in ITERATIONS.items()},
        "layouts": found,
        "passed": all(figures["kitchen"]["agrees"] and figures["gain"]["low"] > 0.0 for figures in found.values()),
    }


def one_layout(layout: str) -> dict[str, Any]:
    """Scores of a game, by pair and seat, with intervals over seeds and games."""
    need("torch").set_num_threads(1)
    drawn = peer("peers_overcooked.py", VENV, {"ask": "room", "layout": layout})
    if "missing" in drawn:
        return drawn
    with tempfile.TemporaryDirectory() as folder:
        logged = peer("peers_overcooked.py", VENV, {"ask": "games", "layout": layout, "to": folder})
        if "missing" in logged:
            return logged
        people = [read_demonstrations(Path(folder) / f"{part}.npz") for part in ("train", "test")]
    first = np.array([*logged["train"].pop("first_400"), *logged["test"].pop("first_400")])
    raw = Room(drawn["rows"], drawn["starts"], drawn["costs"])
    scale = np.maximum(np.abs(people[0].seen).max(axis=0), 1.0).astype(np.float32)
    plan = replace(PLAN, iterations=ITERATIONS[layout])
    seeds = [Seed(drawn, scale, people, plan, seed) for seed in range(SEEDS)]
    scores = {name: np.array([each.scores[name] for each in seeds]) for name in seeds[0].scores}
    gain = np.array([each.scores["ppo + proxy"] - each.scores["clone + proxy"] for each in seeds])
    return {
        "people": {"games": len(first), "mean": float(first.mean()), "error": float(first.std() / len(first) ** 0.5)},
        "logged": logged,
        "agreement": {name: [round(each.agreement[name], 3) for each in seeds] for name in seeds[0].agreement},
        "scores": {name: _figure(rows) for name, rows in scores.items()},
        "gain": interval(gain.reshape(SEEDS, -1)),
        "paper": PAPER[layout],
        "kl": [round(each.readings[-1].kl, 1) for each in seeds],
        "kitchen": agrees(layout, raw, scale, seeds),
        **({"stable_baselines3": beside(drawn, seeds)} if layout == PEERED else {}),
        "cpu_seconds": round(time.process_time(), 1),
        "cpu_seconds_of_peers": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, 1),
    }


class Seed:
    """One run: both clones, PPO beside the first; ``scores[pair]`` (seats, games) of the judgement."""

    def __init__(
        self,
        drawn: dict[str, Any],
        scale: View,
        people: Sequence[Demonstrations],
        plan: PPOPlan,
        seed: int,
    ) -> None:
        self.room = Room(drawn["rows"], drawn["starts"], drawn["costs"])
        self.room.scale_by(scale)
        self.seed = seed
        mine, theirs = (_scaled(part, scale) for part in people)
        stand_in = self._policy(None, seed + 100)
        agreed = imitate(
            stand_in, theirs.log(), seed=seed, epochs=CLONING, learning_rate=CLONING_RATE, episode=theirs.episode
        )
        self.proxy = player_of(stand_in, unblocked=True)
        self._learn(mine, plan)
        others = self._agreement(self.clone, theirs)
        commonest = float(np.bincount(theirs.action).max() / len(theirs.action))
        self.agreement = {
            "clone, held out": self.stages.agreement,
            "clone, other people": others,
            "the commonest action, other people": commonest,
            "proxy, held out": agreed,
        }
        plain = Player(self.clone.layers)
        self.scores = {
            "clone + clone": self.judge(self.clone, self.clone),
            "proxy + proxy": self.judge(self.proxy, self.proxy),
            "clone + proxy": self.judge(self.clone, self.proxy),
            "clone as it is + proxy": self.judge(plain, self.proxy),
            "ppo + proxy": self.judge(self.best, self.proxy),
            "ppo + clone": self.judge(self.best, self.clone),
        }
        print(seed, {name: rows.mean(axis=1).tolist() for name, rows in self.scores.items()}, flush=True)

    def _learn(self, mine: Demonstrations, plan: PPOPlan) -> None:
        """The clone, then PPO beside it. Environments are made after the cloning: their other player is the clone."""
        shifts: list[Shift] = []

        def make() -> Shift:
            if not shifts:
                self.clone = player_of(policy, unblocked=True)
            shifts.append(Shift(self.room, self.clone))
            return shifts[-1]

        def judged() -> Shift:
            shift = Shift(self.room, self.proxy)
            shift.shaping = 0.0
            return shift

        policy = self._policy(make, self.seed)
        self.stages, outcome = learn_from_people(
            policy, mine, plan, seed=self.seed, prompts=2, episodes=2 * GAMES, epochs=CLONING,
            learning_rate=CLONING_RATE, judged_in=judged,
            progress=lambda done, total, _: _fade(shifts, done, total),
        )  # fmt: skip
        self.readings, self.best = outcome.readings, player_of(policy)

    def _policy(self, make: Any, seed: int) -> EpisodePolicy:
        return EpisodePolicy(make, WIDTH, ACTIONS, most_steps=HORIZON, seed=seed)

    def _agreement(self, clone: Player, people: Demonstrations) -> float:
        likeliest = [int(np.argmax(clone.of(seen))) for seen in people.seen]
        return float((np.array(likeliest) == people.action).mean())

    def judge(self, one: Player, two: Player) -> Floats:
        """(2, games): ``one`` in seat 0, then in seat 1; (1, games) where they are the same."""
        pairs = ((one, two), (two, one)) if one is not two else ((one, two),)
        return np.array([play(self.room, pair, GAMES, 10 * self.seed + seat) for seat, pair in enumerate(pairs)])


def _fade(shifts: Sequence[Shift], done: int, total: int) -> None:
    """The package's reward for what leads to a soup, less and less: none in the second half."""
    for shift in shifts:
        shift.shaping = max(0.0, 1.0 - 2.0 * done / total)


def _scaled(people: Demonstrations, scale: View) -> Demonstrations:
    seen = (people.seen / scale).astype(np.float32)
    return Demonstrations(seen, people.action, people.episode, people.reward, people.weight)


def player_of(policy: EpisodePolicy, *, unblocked: bool = False) -> Player:
    """The policy as it stands, as plain arrays."""
    p = {name: value.detach().numpy().copy() for name, value in policy.parameters().items()}
    return Player([(p[f"actor.{i}.weight"], p[f"actor.{i}.bias"]) for i in (0, 2, 4)], unblocked=unblocked)


def _figure(rows: Floats) -> dict[str, dict[str, float]]:
    """(seeds, seats, games) by seat, and of both."""
    by_seat = {f"seat {seat}": interval(rows[:, seat]) for seat in range(rows.shape[1])}
    return {**by_seat, "both": interval(rows.reshape(len(rows), -1))}


def agrees(layout: str, raw: Room, scale: View, seeds: Sequence[Seed]) -> dict[str, Any]:
    """The package against our kitchen: steps and features of random play and of what was learned, and a score."""
    rng = np.random.default_rng(0)
    games: list[NDArray[np.int64]] = list(rng.choice(ACTIONS, p=[0.15] * 4 + [0.05, 0.35], size=(4, HORIZON, 2)))
    games += [
        recorded(each, pair) for each in seeds[:2] for pair in ((each.best, each.proxy), (each.clone, each.proxy))
    ]
    seen, paid = zip(*(replayed(raw, game) for game in games), strict=True)
    steps = peer(
        "peers_overcooked.py", VENV, {"ask": "compare", "layout": layout},
        {"actions": np.array(games), "seen": np.array(seen), "paid": np.array(paid)},
    )  # fmt: skip
    networks: dict[str, NDArray[Any]] = {"scale": scale}
    pairs = []
    for each in seeds:
        for name, player in (("best", each.best), ("proxy", each.proxy)):
            for i, (weight, bias) in zip((0, 2, 4), player.layers, strict=True):
                networks |= {f"{name}{each.seed}.{i}.weight": weight, f"{name}{each.seed}.{i}.bias": bias}
        both = (f"best{each.seed}", False), (f"proxy{each.seed}", True)
        pairs += [both, both[::-1]]
    given = {"ask": "judge", "layout": layout, "pairs": pairs, "games": AGREED, "seed": 3}
    judged = peer("peers_overcooked.py", VENV, given, networks)
    theirs = np.array(judged["earned"]) if "earned" in judged else np.zeros((1, 1))
    figures = {**steps, "ppo + proxy in the package": interval(theirs), "games_in_the_package": int(theirs.size)}
    return figures | {"agrees": steps.get("seen_otherwise") == 0 and steps.get("paid_otherwise") == 0}


def recorded(each: Seed, pair: tuple[Player, Player]) -> NDArray[np.int64]:
    """The actions of a game, (steps, 2)."""
    kitchen, rng, pasts = Kitchen(each.room), random.Random(each.seed), (Past(), Past())
    actions = []
    for _ in range(HORIZON):
        actions.append([who.act(each.room, kitchen.key(i), pasts[i], rng) for i, who in enumerate(pair)])
        kitchen.step(actions[-1])
    return np.array(actions)


def replayed(raw: Room, actions: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """What both see before each step (steps, 2, features), and what it pays (steps, 2): served, leading to it."""
    kitchen, seen, paid = Kitchen(raw), [], []
    for both in actions.tolist():
        seen.append([raw.view(kitchen.key(seat)) for seat in (0, 1)])
        paid.append(kitchen.step(both))
    return np.array(seen), np.array(paid)


def beside(drawn: dict[str, Any], seeds: Sequence[Seed]) -> dict[str, Any]:
    """Stable-Baselines3's PPO from the same clones, beside the same clones, for as many steps; judged like ours."""
    given = {"room": drawn, "seeds": PEER_SEEDS, "iterations": ITERATIONS[PEERED]}
    arrays: dict[str, NDArray[Any]] = {"scale": seeds[0].room.scale}
    for each in seeds[:PEER_SEEDS]:
        for i, (weight, bias) in enumerate(each.clone.layers):
            arrays |= {f"{each.seed}.{i}.weight": weight, f"{each.seed}.{i}.bias": bias}
    theirs = peer("peers_kitchen.py", SB3, given, arrays)
    if "missing" in theirs:
        return theirs
    made = theirs.pop("layers")
    players = [Player([(np.array(w), np.array(b)) for w, b in layers]) for layers in made]
    scores = [each.judge(player, each.proxy) for each, player in zip(seeds, players, strict=False)]
    return {**theirs, "seeds": PEER_SEEDS, "ppo + proxy": _figure(np.array(scores))}
