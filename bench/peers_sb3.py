"""Runs in the peers' environment: Stable-Baselines3's PPO on CartPole-v1, with its own numbers for that task."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np


def main(question: Path, answer: Path) -> None:
    """Return of each seed after the steps asked for."""
    import gymnasium  # type: ignore[import-not-found]
    import stable_baselines3  # type: ignore[import-not-found]
    from stable_baselines3.common.evaluation import evaluate_policy  # type: ignore[import-not-found]

    given = json.loads(str(np.load(question)["given"]))
    returns = []
    for seed in range(given["seeds"]):
        # The tuned hyperparameters of RL Baselines3 Zoo for CartPole-v1, less its schedules.
        model = stable_baselines3.PPO(
            "MlpPolicy", gymnasium.make("CartPole-v1"), seed=seed, device="cpu", n_steps=256, batch_size=256,
            gae_lambda=0.8, gamma=0.98, n_epochs=20, learning_rate=1e-3, clip_range=0.2,
        )  # fmt: skip
        model.learn(given["steps"])
        judged = evaluate_policy(
            model, gymnasium.make("CartPole-v1"), n_eval_episodes=given["episodes"], deterministic=False
        )
        returns.append(float(judged[0]))
    mean, error = float(np.mean(returns)), float(np.std(returns, ddof=1) / math.sqrt(len(returns)))
    versions = {"stable_baselines3": stable_baselines3.__version__, "gymnasium": gymnasium.__version__}
    answer.write_text(json.dumps({"mean": mean, "error": error, "runs": returns, **versions}), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
