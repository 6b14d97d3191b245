"""Runs in the peers' environment: Stable-Baselines3's PPO in our kitchen, from a clone of people, beside that clone.

The network is the clone's, the batch, epochs, rates and the fading reward are ours; its critic begins at nothing, and
nothing holds it near to people.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent.parent))


def main(question: Path, answer: Path) -> None:
    """The networks learned, one for each seed, as lists."""
    import stable_baselines3  # type: ignore[import-not-found]
    import torch  # type: ignore[import-not-found, unused-ignore]

    torch.set_num_threads(1)
    arrays = np.load(question)
    given = json.loads(str(arrays["given"]))
    started = time.process_time()
    layers = [learned(given, arrays, seed) for seed in range(given["seeds"])]
    found = {
        "layers": layers,
        "cpu_seconds": round(time.process_time() - started, 1),
        "version": stable_baselines3.__version__,
    }
    answer.write_text(json.dumps(found), "utf-8")


def learned(given: dict[str, Any], arrays: Any, seed: int) -> list[Any]:
    """One run."""
    import gymnasium  # type: ignore[import-not-found]
    import stable_baselines3
    import torch
    from stable_baselines3.common.callbacks import BaseCallback  # type: ignore[import-not-found]
    from stable_baselines3.common.vec_env import DummyVecEnv  # type: ignore[import-not-found]

    from bench.kitchen import ACTIONS, HORIZON, WIDTH, Player, Room, Shift

    room = Room(given["room"]["rows"], given["room"]["starts"], given["room"]["costs"])
    room.scale_by(arrays["scale"])
    clone = [(arrays[f"{seed}.{i}.weight"], arrays[f"{seed}.{i}.bias"]) for i in range(3)]
    partner = Player(clone, unblocked=True)
    shifts: list[Shift] = []

    class Seat(gymnasium.Env):  # type: ignore[misc]
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (WIDTH,), np.float32)
        action_space = gymnasium.spaces.Discrete(ACTIONS)

        def __init__(self, seat: int) -> None:
            self._seat, self._shift = seat, Shift(room, partner)
            shifts.append(self._shift)

        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:  # noqa: ARG002
            super().reset(seed=seed)
            return self._shift.reset(seed=int(self.np_random.integers(2**31)), options={"prompt": self._seat})

        def step(self, action: Any) -> Any:
            return self._shift.step(int(action))

    class Fade(BaseCallback):  # type: ignore[misc]
        def _on_rollout_start(self) -> None:
            done = self.num_timesteps / (given["iterations"] * 30 * HORIZON)
            for shift in shifts:
                shift.shaping = max(0.0, 1.0 - 2.0 * done)

        def _on_step(self) -> bool:
            return True

    seats = DummyVecEnv([lambda i=i: Seat(i % 2) for i in range(30)])
    model = stable_baselines3.PPO(
        "MlpPolicy", seats, seed=seed, device="cpu", n_steps=HORIZON, batch_size=3 * HORIZON, n_epochs=4,
        learning_rate=1e-3, clip_range=0.2, gamma=0.99, gae_lambda=0.98, ent_coef=0.01, max_grad_norm=1.0,
    )  # fmt: skip
    parts = [
        model.policy.mlp_extractor.policy_net[0],
        model.policy.mlp_extractor.policy_net[2],
        model.policy.action_net,
    ]
    with torch.no_grad():
        for part, (weight, bias) in zip(parts, clone, strict=True):
            part.weight.copy_(torch.as_tensor(weight))
            part.bias.copy_(torch.as_tensor(bias))
    model.learn(given["iterations"] * 30 * HORIZON, callback=Fade())
    return [(part.weight.detach().numpy().tolist(), part.bias.detach().numpy().tolist()) for part in parts]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
