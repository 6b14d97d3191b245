"""Policies that act: rankings and games, learned from logs and demonstrations, then by PPO beside what was learned.

An episode is to :mod:`arauto.gpo.ppo` what a text is: its actions are the tokens. The environment has the interface of
Gymnasium (``reset``, ``step``), observations of fixed length and numbered actions; Gymnasium itself is not needed.

Off-policy correction: Chen et al. 2019 (1812.02353), REINFORCE weighted by min(π/μ, cap), here less the value of the
state, which the critic learns from the same log. The reference that KL is
measured to is the policy as it stood after the logs or the demonstrations: what is learned by trial stays near people.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arauto.core.errors import InputError, ModelFileError
from arauto.gpo.extras import need
from arauto.gpo.files import load_tensors, save_tensors
from arauto.gpo.ppo import Rewards, Rollout
from arauto.gpo.table import Floats, Ints

Tensor = Any
Allowed = Callable[[Tensor], Tensor]
_NEVER = -1e9
"""A logit that no exponential survives."""


class Environment(Protocol):
    """The part of ``gymnasium.Env`` that is used. The prompt's number is given to ``reset`` as an option."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode: the first observation."""
        ...

    def step(self, action: int, /) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Observation, reward, whether it ended, whether it was cut, and more."""
        ...


@dataclass(frozen=True)
class Log:
    """n actions that were taken: ``seen`` (n, d) before each, ``action``, its ``propensity`` under the policy that
    chose it, and ``earned``, the reward from it to its episode's end. Demonstrations have propensity 1."""

    seen: NDArray[np.float32]
    action: Ints
    propensity: Floats
    earned: Floats


class EpisodePolicy:
    """A small network that acts: two layers for the actor, two for the critic, tanh between (Andrychowicz 2020)."""

    def __init__(
        self,
        make: Callable[[], Environment],
        observation: int,
        actions: int,
        *,
        hidden: int = 64,
        most_steps: int = 500,
        allowed: Allowed | None = None,
        seed: int = 0,
    ) -> None:
        """``allowed`` tells from observations (n, d) which actions may be taken, (n, actions): at least one a row. The
        others get no probability (Huang & Ontañón 2022, 2006.14171)."""
        torch = need("torch")
        self.make = make
        self._allowed = allowed
        self._environments: list[Environment] = []
        self.actions = actions
        self.most_steps = most_steps
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor, self.critic = (_network(observation, hidden, out) for out in (actions, 1))
        # Small last weights: at first every action is about as likely as any other.
        with torch.no_grad():
            self.actor[-1].weight.mul_(0.01)
        self._reference = copy.deepcopy(self.actor)

    def elsewhere(self, make: Callable[[], Environment]) -> EpisodePolicy:
        """The same policy, with the same parameters, acting in other environments: those it is judged in."""
        same = copy.copy(self)
        same.make, same._environments = make, []
        return same

    def anchor(self) -> None:
        """From now on KL is measured to the policy as it stands."""
        self._reference = copy.deepcopy(self.actor)

    def probabilities(self, seen: NDArray[np.floating]) -> Floats:
        """π(a | observation), (n, actions)."""
        torch = need("torch")
        with torch.no_grad():
            log = self._log(self.actor, torch.as_tensor(np.asarray(seen, np.float32)))
        found: Floats = log.exp().double().numpy()
        return found

    def log_of(self, seen: Tensor, actor: Any = None) -> Tensor:
        """The log probability of each action, (…, actions), by the reference, or by another ``actor`` network."""
        return self._log(actor or self._reference, seen)

    def _log(self, actor: Any, seen: Tensor) -> Tensor:
        """log π(a | observation), (…, actions)."""
        logits = actor(seen)
        if self._allowed is not None:
            logits = logits.masked_fill(~self._allowed(seen), _NEVER)
        return logits.log_softmax(-1)

    def sample(self, prompts: Sequence[int], seed: int) -> Rollout:
        torch = need("torch")
        while len(self._environments) < len(prompts):
            self._environments.append(self.make())
        draw = np.random.default_rng(seed)
        starts = draw.integers(2**31, size=len(prompts)).tolist()
        pairs = zip(self._environments, starts, prompts, strict=False)
        now = np.array([e.reset(seed=s, options={"prompt": p})[0] for e, s, p in pairs], np.float32)
        alive = np.ones(len(prompts), bool)
        seen, actions, taken, earned, masks = [], [], [], [], []
        for _ in range(self.most_steps):
            chances = self.probabilities(now)
            below = chances.cumsum(axis=1) < draw.random((len(prompts), 1))
            chosen = np.minimum(below.sum(axis=1), self.actions - 1)
            taken.append(chances[np.arange(len(prompts)), chosen])
            seen.append(now.copy())
            actions.append(chosen)
            masks.append(alive.astype(np.float32))
            paid = np.zeros(len(prompts), np.float32)
            for i in np.flatnonzero(alive):
                after, reward, ended, cut, _ = self._environments[i].step(int(chosen[i]))
                now[i], paid[i], alive[i] = after, reward, not (ended or cut)
            earned.append(paid)
            if not alive.any():
                break
        mask, paid_all = np.stack(masks, 1), np.stack(earned, 1)
        texts = tuple(f"{steps:.0f} steps, {sum_:g}" for steps, sum_ in zip(mask.sum(1), paid_all.sum(1), strict=True))
        columns = {"seen": seen, "tokens": actions, "chance": taken}
        state = {name: torch.tensor(np.stack(column, 1)) for name, column in columns.items()}
        return Rollout(texts, tuple(prompts), torch.tensor(mask), state, torch.tensor(paid_all))

    def read(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
        log = self._log(self.actor, rollout.state["seen"])
        logp = log.gather(-1, rollout.state["tokens"][..., None])[..., 0]
        return logp, -(log.exp() * log).sum(-1), self.critic(rollout.state["seen"])[..., 0]

    def read_reference(self, rollout: Rollout) -> Tensor:
        with need("torch").no_grad():
            log = self._log(self._reference, rollout.state["seen"])
        return log.gather(-1, rollout.state["tokens"][..., None])[..., 0]

    def parameters(self) -> dict[str, Tensor]:
        named = (("actor", self.actor), ("critic", self.critic))
        return {f"{part}.{name}": p for part, net in named for name, p in net.named_parameters()}

    def save(self, path: Path) -> None:
        """What was learned, as safetensors."""
        save_tensors(path, {name: p.detach().numpy() for name, p in self.parameters().items()})

    def load(self, path: Path) -> None:
        """Put back what :meth:`save` wrote; it is the reference, too.

        Raises:
            ModelFileError: it is of a policy of another shape.
        """
        torch, tensors = need("torch"), load_tensors(path)
        parameters = self.parameters()
        if {n: tuple(p.shape) for n, p in parameters.items()} != {n: t.shape for n, t in tensors.items()}:
            raise ModelFileError(f"{path} is of another policy", field="policy", mend="give the one that was saved")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(torch.from_numpy(tensors[name]))
        self.anchor()


def earned_in_episode(texts: Sequence[str], prompts: Sequence[int], iteration: int) -> Rewards:
    """The judge of episodes: nothing is paid at the end but what the steps have earned."""
    del prompts, iteration
    none = np.zeros(len(texts))
    return Rewards(none, none, none, np.full(len(texts), np.nan))


def imitate(
    policy: EpisodePolicy,
    log: Log,
    *,
    seed: int,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    batch: int = 256,
    weight: Floats | None = None,
    episode: Ints | None = None,
) -> float:
    """Behaviour cloning: the actions of people, by likelihood. The clone becomes the reference of KL.

    ``weight`` says how much each row counts; ``episode`` which rows are of one episode: whole ones are kept back then.

    Returns:
        The share of a tenth kept back on which the likeliest action is the one that was taken.
    """
    torch, rows = need("torch"), len(_checked(log, policy).action)
    if rows < 2:
        raise InputError("is a single step", field="log", mend="give more of what people did")
    names, of = np.unique(_apart(rows, episode), return_inverse=True)
    apart = np.isin(of, np.random.default_rng(seed).permutation(len(names))[: max(len(names) // 10, 1)])
    held, fit = np.flatnonzero(apart), np.flatnonzero(~apart)
    counts = torch.ones(rows) if weight is None else torch.as_tensor(weight, dtype=torch.float32)

    def loss(logp: Tensor, rows: Ints) -> Tensor:
        return -(counts[rows] * logp).sum() / counts[rows].sum().clamp(min=1e-9)

    _descend(policy, log, fit, loss, seed, epochs, learning_rate, batch)
    return float((policy.probabilities(log.seen[held]).argmax(axis=1) == log.action[held]).mean())


def _apart(rows: int, episode: Ints | None) -> Ints:
    """What is kept back or not as a whole: rows, episodes, or tenths of an only episode."""
    if episode is None:
        return np.arange(rows)
    return episode if len(np.unique(episode)) > 1 else np.arange(rows) * min(rows, 10) // rows


def learn_from_log(
    policy: EpisodePolicy,
    log: Log,
    *,
    seed: int,
    epochs: int = 10,
    learning_rate: float = 1e-3,
    batch: int = 256,
    cap: float = 10.0,
) -> None:
    """Maximise what another policy's log says that this one would have earned, weights capped at ``cap``.

    The critic is fitted first: an action is praised for what came of it beyond what its state promised.
    """
    torch = need("torch")
    fit_critic(policy, log, seed=seed, epochs=epochs, learning_rate=learning_rate, batch=batch)
    with torch.no_grad():
        gain = torch.tensor(log.earned, dtype=torch.float32) - policy.critic(torch.as_tensor(log.seen))[:, 0]
    gain = (gain - gain.mean()) / (gain.std() + 1e-8)
    chance = torch.tensor(log.propensity, dtype=torch.float32).log()

    def loss(logp: Tensor, rows: Ints) -> Tensor:
        weight = (logp.detach() - chance[rows]).exp().clamp(max=cap)
        return -(weight * gain[rows] * logp).mean()

    _descend(policy, log, np.arange(len(log.action)), loss, seed, epochs, learning_rate, batch)


def log_of(rollout: Rollout, gamma: float = 1.0) -> Log:
    """The log that an :class:`EpisodePolicy` leaves behind, with the propensities it acted with."""
    if rollout.earned is None or "chance" not in rollout.state:
        raise InputError("holds texts, not episodes", field="rollout", mend="give one of an EpisodePolicy")
    mask = rollout.mask.bool().numpy()
    earned = rollout.earned.double().numpy() * mask
    for t in range(earned.shape[1] - 2, -1, -1):
        earned[:, t] += gamma * earned[:, t + 1]
    chance = rollout.state["chance"].double().numpy()
    return Log(
        seen=rollout.state["seen"].numpy()[mask],
        action=rollout.state["tokens"].numpy()[mask],
        propensity=chance[mask],
        earned=earned[mask],
    )


def _descend(
    policy: EpisodePolicy, log: Log, rows: Ints, loss: Callable[[Tensor, Ints], Tensor], seed: int, epochs: int,
    learning_rate: float, batch: int,
) -> None:  # fmt: skip
    """Adam on ``loss`` of log π(action | seen); then the policy is its own reference."""
    torch = need("torch")
    optimiser = torch.optim.Adam(policy.actor.parameters(), lr=learning_rate)
    seen, action = torch.as_tensor(log.seen), torch.as_tensor(log.action)
    for epoch in range(epochs):
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        for at in range(0, len(order), batch):
            part = order[at : at + batch]
            logp = policy._log(policy.actor, seen[part]).gather(-1, action[part][:, None])[:, 0]
            optimiser.zero_grad()
            loss(logp, part).backward()
            optimiser.step()
    policy.anchor()


def fit_critic(
    policy: EpisodePolicy, log: Log, *, seed: int, epochs: int = 10, learning_rate: float = 1e-3, batch: int = 256
) -> None:
    """The critic, by least squares on what was earned from each state on. PPO that begins at a clone needs it: by the
    praise of a critic that knows nothing, the clone would be unlearned first."""
    torch = need("torch")
    _checked(log, policy)
    optimiser = torch.optim.Adam(policy.critic.parameters(), lr=learning_rate)
    seen, earned = torch.as_tensor(log.seen), torch.as_tensor(log.earned, dtype=torch.float32)
    for epoch in range(epochs):
        for part in torch.tensor(np.random.default_rng([seed, epoch, 1]).permutation(len(earned))).split(batch):
            optimiser.zero_grad()
            (policy.critic(seen[part])[:, 0] - earned[part]).square().mean().backward()
            optimiser.step()


def _network(width: int, hidden: int, out: int) -> Any:
    nn = need("torch.nn")
    return nn.Sequential(
        nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, out)
    )


def _checked(log: Log, policy: EpisodePolicy) -> Log:
    n = len(log.action)
    if not n or not len(log.seen) == len(log.propensity) == len(log.earned) == n:
        raise InputError("has columns of different lengths, or none", field="log", mend="give one row an action")
    if log.action.min() < 0 or log.action.max() >= policy.actions:
        raise InputError(f"is not in 0 … {policy.actions - 1}", field="action", mend="number the actions from 0")
    if not ((log.propensity > 0.0) & (log.propensity <= 1.0)).all():
        raise InputError("is not in (0, 1]", field="propensity", mend="log the probability of each action taken")
    return log
