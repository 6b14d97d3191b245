"""PPO on a pole on a cart, beside Stable-Baselines3's on the same: return by environment steps.

Ours steps the equations below; the peer runs Gymnasium's CartPole-v1 in an environment of its own::

    python -m venv .venv-peers-gpo && .venv-peers-gpo/bin/pip install -r bench/peers-gpo.txt
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from arauto.gpo import PPO, EpisodePolicy, Monitor, PPOPlan, StopRule, earned_in_episode
from arauto.gpo.table import Floats
from bench.experiments_common import peer

SEEDS, STEPS, MOST = 5, 60_000, 500
EPISODES = 20
"""Episodes of the judgement, the policy drawing its actions as in training."""
PLAN = PPOPlan(
    iterations=100_000, batch=4, group=1, minibatch=2, epochs=10, learning_rate=2e-3, gamma=0.98, lam=0.95,
    value_clip=0.0, kl_start=1e-6, kl_target=1e6, kl_horizon=10**9,
)  # fmt: skip


class CartPole:
    """Barto, Sutton & Anderson 1983, with the numbers of Gymnasium's CartPole-v1. Reward 1 a step, at most 500."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Floats, dict[str, Any]]:
        """Nearly upright."""
        del options
        self._state = np.random.default_rng(seed).uniform(-0.05, 0.05, 4)
        self._steps = 0
        return self._state.copy(), {}

    def step(self, action: int, /) -> tuple[Floats, float, bool, bool, dict[str, Any]]:
        """Push left or right with 10 N for 20 ms."""
        _, speed, angle, turn = self._state.tolist()
        sine, cosine = math.sin(angle), math.cos(angle)
        push = ((10.0 if action else -10.0) + 0.05 * turn**2 * sine) / 1.1
        turning = (9.8 * sine - cosine * push) / (0.5 * (4.0 / 3.0 - 0.1 * cosine**2 / 1.1))
        moving = push - 0.05 * turning * cosine / 1.1
        change = np.array([speed, moving, turn, turning])
        self._state = self._state + 0.02 * change
        self._steps += 1
        out = bool(abs(self._state[0]) > 2.4 or abs(self._state[2]) > math.radians(12))
        return self._state.copy(), 1.0, out, self._steps >= MOST, {}


def ours(seed: int) -> dict[str, float]:
    """Return after about :data:`STEPS` steps, and the first 10,000 at which a batch's mean reached 475."""
    policy = EpisodePolicy(CartPole, 4, 2, most_steps=MOST, seed=seed)
    monitor = Monitor(StopRule(diversity_least=0.0, kl_most=1e9))
    run = PPO(policy, earned_in_episode, 1, PLAN, seed=seed, monitor=monitor)
    steps, iteration, solved = 0.0, 0, math.inf
    while steps < STEPS:
        reading = run.step(iteration)
        steps += reading.length * PLAN.batch
        iteration += 1
        if reading.reward >= 475.0:
            solved = min(solved, steps)
    judged = policy.sample([0] * EPISODES, seed=10_000 + seed)
    return {
        "return": float(np.asarray(judged.earned).sum(axis=1).mean()),
        "solved_at": solved if math.isfinite(solved) else -1.0,
    }


def main() -> dict[str, Any]:
    """Mean return of both over the seeds, with its standard error."""
    started = time.process_time()
    mine = [ours(seed) for seed in range(SEEDS)]
    returns = np.array([each["return"] for each in mine])
    theirs = peer("peers_sb3.py", ".venv-peers-gpo", {"seeds": SEEDS, "steps": STEPS, "episodes": EPISODES})
    return {
        "steps": STEPS,
        "seeds": SEEDS,
        "ours": {"mean": float(returns.mean()), "error": float(returns.std(ddof=1) / math.sqrt(SEEDS)), "runs": mine},
        "stable_baselines3": theirs,
        "cpu_seconds": round(time.process_time() - started, 1),
        "passed": float(returns.mean()) >= 0.95 * float(theirs.get("mean", 0.0)),
    }
