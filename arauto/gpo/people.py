"""An action policy from people's play: demonstrations, a clone of them, PPO beside the clone; each stage's score.

Demonstrations are a NumPy file of plain arrays (``np.savez``), never a pickle. The environment is any of Gymnasium's
with numbered actions and observations that are numbers; what it pays is the reward.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError, TooLargeError
from arauto.core.spread import connected
from arauto.gpo.episodes import (
    Allowed,
    Environment,
    EpisodePolicy,
    Log,
    earned_in_episode,
    fit_critic,
    imitate,
    log_of,
)
from arauto.gpo.extras import need
from arauto.gpo.gate import Estimate
from arauto.gpo.monitors import Monitor, StopRule
from arauto.gpo.ppo import PPO, Outcome, PPOPlan
from arauto.gpo.progress import Progress, silent
from arauto.gpo.table import Floats, Ints

_MOST_BYTES = 4 * 2**30
_DRAWS = 2000


@dataclass(frozen=True)
class Demonstrations:
    """n steps of people: ``seen`` (n, d) before each ``action``, the ``episode`` it is of, its ``reward`` (NaN where
    that is not known) and its ``weight``."""

    seen: NDArray[np.float32]
    action: Ints
    episode: Ints
    reward: Floats
    weight: Floats

    def log(self) -> Log:
        """The same as a log; what was earned from each step on is 0 where rewards are not known."""
        earned = np.nan_to_num(self.reward)
        for episode in np.unique(self.episode):
            rows = np.flatnonzero(self.episode == episode)
            earned[rows] = earned[rows][::-1].cumsum()[::-1]
        return Log(self.seen, self.action, np.ones(len(self.action)), earned)


def demonstrations_of(
    seen: NDArray[Any],
    action: NDArray[Any],
    *,
    episode: NDArray[Any] | None = None,
    reward: NDArray[Any] | None = None,
    weight: NDArray[Any] | None = None,
) -> Demonstrations:
    """Demonstrations of arrays, one row a step; without ``episode`` all are of one.

    Raises:
        InputError: names the array: rows that do not match, numbers that are none, a weight below 0.
    """
    n = len(action)
    wide = np.asarray(seen, np.float32).reshape(len(seen), -1)
    rewards = np.full(n, np.nan) if reward is None else np.asarray(reward, np.float64)
    weights = np.ones(n) if weight is None else np.asarray(weight, np.float64)
    episodes = np.zeros(n, np.int64) if episode is None else np.asarray(episode)
    columns = {"seen": wide, "action": np.asarray(action), "episode": episodes, "reward": rewards, "weight": weights}
    for name, column in columns.items():
        if not n or len(column) != n or (column.ndim != 1 and name != "seen"):
            raise InputError("has not one row a step, or none", field=name, mend="give as many rows as actions")
    for name in ("action", "episode"):
        if columns[name].dtype.kind not in "iu":
            raise InputError("is not of whole numbers", field=name, mend="number them from 0")
    if not np.isfinite(wide).all():
        raise InputError("holds numbers that are none", field="seen", mend="leave those steps out")
    if not (np.isfinite(weights) & (weights >= 0.0)).all() or not weights.any():
        raise InputError("is below 0, or 0 everywhere", field="weight", mend="give each step a weight of 0 or more")
    return Demonstrations(wide, columns["action"].astype(np.int64), episodes.astype(np.int64), rewards, weights)


def read_demonstrations(path: Path) -> Demonstrations:
    """The file of ``np.savez(path, seen=…, action=…)``, and of ``episode``, ``reward``, ``weight`` if they are known.

    Raises:
        InputError: it is missing, no such file, or an array is wrong. Pickled objects are refused, unread.
        TooLargeError: it unpacks to more than 4 GiB.
    """
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(part.file_size for part in packed.infolist())
        if size > _MOST_BYTES:
            raise TooLargeError(f"{path} unpacks to {size} bytes", field="demonstrations", mend="give fewer steps")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("seen", "action", "episode", "reward", "weight") if name in file}
    except FileNotFoundError:
        raise InputError(f"{path} is not there", field="demonstrations", mend="check the path") from None
    except (OSError, ValueError, zipfile.BadZipFile) as failure:
        mend = "write it with np.savez, plain arrays only"
        raise InputError(f"{path} cannot be read: {failure}", field="demonstrations", mend=mend) from None
    if missing := {"seen", "action"} - arrays.keys():
        raise InputError(
            f"{path} has no {min(missing)}", field="demonstrations", mend="np.savez(path, seen=…, action=…)"
        )
    return demonstrations_of(arrays.pop("seen"), arrays.pop("action"), **arrays)


class _Numbers:
    """An environment whose observations are vectors: a picture is laid flat, a number becomes a one among zeros."""

    def __init__(self, inner: Any, kinds: int) -> None:
        self._inner = inner
        self._kinds = kinds

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        seen, more = self._inner.reset(seed=seed, options=options)
        return self._flat(seen), more

    def step(self, action: int, /) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        seen, *rest = self._inner.step(action)
        return (self._flat(seen), *rest)

    def _flat(self, seen: Any) -> NDArray[np.float32]:
        flat = np.eye(self._kinds)[int(seen)] if self._kinds else np.asarray(seen).reshape(-1)
        return flat.astype(np.float32)


def policy_for(
    make: Callable[[], Any],
    *,
    hidden: int = 64,
    most_steps: int = 500,
    allowed: Allowed | None = None,
    seed: int = 0,
) -> EpisodePolicy:
    """A policy for a Gymnasium environment, as large as its spaces say: ``Box`` or ``Discrete`` is seen, ``Discrete``
    actions from 0 are taken. Gymnasium itself is not needed.

    Raises:
        InputError: the spaces are of another kind.
    """
    environment = make()
    seen, acts = environment.observation_space, environment.action_space
    if not hasattr(acts, "n") or getattr(acts, "start", 0) != 0:
        raise InputError(
            "are not numbered from 0", field="action_space", mend="wrap it: a Discrete of what may be done"
        )
    kinds = int(seen.n) if hasattr(seen, "n") else 0
    if not kinds and not getattr(seen, "shape", None):
        raise InputError("is neither Box nor Discrete", field="observation_space", mend="wrap it: a Box of numbers")
    if not kinds and len(seen.shape) == 1:
        made = make
    else:

        def made() -> Environment:
            return _Numbers(make(), kinds)

    return EpisodePolicy(
        made, kinds or int(np.prod(seen.shape)), int(acts.n), hidden=hidden, most_steps=most_steps, allowed=allowed,
        seed=seed,
    )  # fmt: skip


def play(policy: EpisodePolicy, episodes: int, *, seed: int, prompts: int = 1, at_once: int = 64) -> Floats:
    """What each of ``episodes`` earned, (episodes,); prompts take turns, actions are drawn as in training."""
    order = [i % prompts for i in range(episodes)]
    rng = np.random.default_rng([seed, 7])
    totals = []
    for at in range(0, episodes, at_once):
        rollout = policy.sample(order[at : at + at_once], seed=int(rng.integers(2**31)))
        totals.append((rollout.earned * rollout.mask).sum(1).double().numpy())
    return np.concatenate(totals)


class Stages(msgspec.Struct, frozen=True, kw_only=True):
    """What an episode earned: by the ``people`` (None where rewards are not known), by their clone, after PPO; the
    ``gain`` of the last over the clone. ``kept``: what the policy is now, the clone where PPO surely lost on it.
    ``agreement``: how often the clone's likeliest action is what people did, in episodes kept back. Intervals (95 %)
    are over episodes."""

    kept: Literal["cloned", "optimised"]
    agreement: float
    people: Estimate | None
    cloned: Estimate
    optimised: Estimate
    gain: Estimate


def learn_from_people(
    policy: EpisodePolicy,
    people: Demonstrations,
    plan: PPOPlan,
    *,
    seed: int,
    prompts: int = 1,
    episodes: int = 200,
    epochs: int = 20,
    learning_rate: float = 1e-3,
    judged_in: Callable[[], Environment] | None = None,
    monitor: Monitor | None = None,
    work: Path | None = None,
    progress: Progress = silent,
    ray: str = "",
) -> tuple[Stages, Outcome]:
    """Demonstrations → clone → PPO, near to the clone: KL to it costs reward from the first step, and adapts.

    ``epochs`` and ``learning_rate`` are of the clone; ``episodes`` judge each stage, in ``judged_in`` where that is
    another environment than the one of learning (whose reward may be shaped, say). PPO stops when KL is ten times the
    plan's target, if ``monitor`` says nothing else. ``work`` keeps its checkpoints. ``ray`` is the setting
    ``ray_address``: where it is set, RLlib's PPO learns there (:mod:`arauto.gpo.rllib`), without checkpoints.
    """
    rllib = _rllib(ray) if ray else None
    agreed = imitate(
        policy, people.log(), seed=seed, epochs=epochs, learning_rate=learning_rate, weight=people.weight,
        episode=people.episode,
    )  # fmt: skip
    judged = policy.elsewhere(judged_in) if judged_in else policy
    before = play(judged, episodes, seed=seed, prompts=prompts)
    first = policy.sample([i % prompts for i in range(plan.batch)], seed=seed)
    fit_critic(policy, log_of(first, plan.gamma), seed=seed)
    clone = {name: parameter.detach().clone() for name, parameter in policy.parameters().items()}
    watch = monitor or Monitor(StopRule(diversity_least=0.0, kl_most=10.0 * plan.kl_target))
    if rllib is not None:
        outcome = rllib.optimise(policy, prompts, plan, seed=seed, ray=ray, monitor=watch, progress=progress)
    else:
        outcome = PPO(policy, earned_in_episode, prompts, plan, seed=seed, monitor=watch, work=work).run(progress)
    after = play(judged, episodes, seed=seed + 1, prompts=prompts)
    gain = _estimate(after.mean() - before.mean(), _bootstrap(after, seed) - _bootstrap(before, seed + 1))
    if gain.high < 0.0:
        with need("torch").no_grad():
            for name, parameter in policy.parameters().items():
                parameter.copy_(clone[name])
    stages = Stages(
        kept="cloned" if gain.high < 0.0 else "optimised",
        agreement=agreed,
        people=_of_people(people, seed),
        cloned=_estimate(before.mean(), _bootstrap(before, seed)),
        optimised=_estimate(after.mean(), _bootstrap(after, seed)),
        gain=gain,
    )
    return stages, outcome


def _rllib(address: str) -> Any:
    """The module, once Ray is connected: Ray reads when it is imported what it is to ask of strangers."""
    connected(address)
    return importlib.import_module("arauto.gpo.rllib")


def _of_people(people: Demonstrations, seed: int) -> Estimate | None:
    if np.isnan(people.reward).any():
        return None
    _, of = np.unique(people.episode, return_inverse=True)
    totals = np.bincount(of, people.reward).astype(np.float64)
    return _estimate(totals.mean(), _bootstrap(totals, seed))


def _bootstrap(totals: Floats, seed: int) -> Floats:
    """Means of episodes drawn with replacement, (draws,)."""
    rng = np.random.default_rng(seed)
    means: Floats = rng.choice(totals, (_DRAWS, len(totals))).mean(axis=1)
    return means


def _estimate(value: float, draws: Floats) -> Estimate:
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    return Estimate(float(value), low, high)
