"""RLlib's PPO on a Ray of this machine, behind our own policy: a small game is learned while players die (kill -9).

CartPole of Gymnasium. Needs ``pip install 'arauto[rllib,train]'``. Beside it, our PPO in one
process with the same plan.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from typing import Any

import numpy as np
import psutil

from arauto.gpo import PPO, EpisodePolicy, PPOPlan, earned_in_episode, play, policy_for
from arauto.gpo.monitors import Monitor, StopRule
from bench.ray_workers import cluster

PLAN = PPOPlan(
    iterations=10, batch=64, group=1, minibatch=128, epochs=6, learning_rate=1e-3, gamma=0.99, kl_start=1e-4,
    kl_target=1000.0, value_clip=0.0,
)  # fmt: skip
DEATHS = (2, 4, 6)
"""Iterations after which a player is killed, at work on the next."""
EPISODES = 50


def fresh() -> EpisodePolicy:
    import gymnasium

    return policy_for(lambda: gymnasium.make("CartPole-v1"), seed=0)


def patient() -> Monitor:
    """It lets a run go to its end: what is paid here is the truth."""
    return Monitor(StopRule(diversity_least=0.0, kl_most=1e9))


def players() -> list[psutil.Process]:
    """Ray names a worker after what it plays."""
    every = psutil.Process().children(recursive=True)
    return [one for one in every if "SingleAgentEnvRunner" in " ".join(one.cmdline()[:1])]


def on_rllib() -> dict[str, Any]:
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    policy, times, killed, rewards = fresh(), [time.monotonic()], 0, []
    before = float(play(policy, EPISODES, seed=1).mean())

    def told(done: int, of: int, note: str) -> None:
        nonlocal killed
        times.append(time.monotonic())
        print(done, of, note, flush=True)
        if done in DEATHS and (found := players()):
            os.kill(found[done % len(found)].pid, signal.SIGKILL)
            killed += 1

    with cluster(3):
        from arauto.gpo import rllib

        outcome = rllib.optimise(policy, 1, PLAN, seed=0, ray="local", monitor=patient(), progress=told)
    rewards = [round(one.reward, 1) for one in outcome.readings]
    return {
        "before": round(before, 1),
        "after": round(float(play(policy, EPISODES, seed=1).mean()), 1),
        "iterations": len(outcome.readings),
        "players_killed": killed,
        "reward_by_iteration": rewards,
        "seconds_an_iteration": [round(float(gap), 1) for gap in np.diff(times)],
    }


def in_process() -> dict[str, Any]:
    policy, began = fresh(), time.monotonic()
    PPO(policy, earned_in_episode, 1, PLAN, seed=0, monitor=patient()).run()
    return {
        "after": round(float(play(policy, EPISODES, seed=1).mean()), 1),
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> dict[str, Any]:
    """Learn."""
    found, ours = on_rllib(), in_process()
    promises = {
        "every iteration was done": found["iterations"] == PLAN.iterations,
        "three players were killed": found["players_killed"] == len(DEATHS),
        "an episode lasts five times as long as before": found["after"] >= 5 * found["before"],
    }
    return {"passed": all(promises.values()), "promises": promises, "rllib": found, "in_process": ours}
