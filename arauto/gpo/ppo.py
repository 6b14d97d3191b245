"""Proximal policy optimisation for policies that write, to be read beside its papers.

PPO: Schulman et al. 2017 (arXiv 1707.06347), the clipped surrogate (7), (9). GAE: Schulman et al. 2016 (1506.02438),
(16). KL to the reference as part of the reward, with an adaptive coefficient: Ziegler et al. 2019 (1909.08593), section
2.2. RLOO: Ahmadian et al. 2024 (2402.14740). GRPO: Shao et al. 2024 (2402.03300). DPO: Rafailov et al. 2023
(2305.18290), (7), on pairs of the policy's own texts that the judge tells apart (online, Guo et al. 2024, 2402.04792).

Left out on purpose: value-function pre-training, early stopping of epochs by KL, and a separate critic network.
B texts of T tokens; ``mask`` (B, T) is 1 where a token was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import msgspec
import numpy as np
from msgspec import Meta

from arauto.core.errors import InputError
from arauto.core.spread import Stopped, never
from arauto.gpo.checkpoints import load_state, read_notes, save_state
from arauto.gpo.extras import need
from arauto.gpo.monitors import Monitor, Reading, Verdict
from arauto.gpo.progress import Progress, silent
from arauto.gpo.table import Floats

Tensor = Any
CHECKPOINT = "policy.safetensors"


Algorithm = Literal["ppo", "rloo", "grpo", "dpo"]
"""How a batch is learned from. All of them sample, judge, watch and stop alike."""


class PPOPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a run does. Symbols as in the papers: ``clip`` ε, ``gamma`` γ, ``lam`` λ, ``kl_start`` β₀, ``kl_target``."""

    algorithm: Algorithm = "ppo"
    iterations: Annotated[int, Meta(ge=1)] = 40
    batch: Annotated[int, Meta(ge=2)] = 128
    """Texts an iteration."""
    group: Annotated[int, Meta(ge=1)] = 4
    """Texts a prompt; RLOO, GRPO and DPO compare within it."""
    parts: Annotated[int, Meta(ge=1, le=1024)] = 1
    """Parts that a batch is written in, each with a seed of its own; on Ray, side by side."""
    minibatch: Annotated[int, Meta(ge=1)] = 32
    epochs: Annotated[int, Meta(ge=1)] = 2
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-4
    clip: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    gamma: Annotated[float, Meta(gt=0, le=1)] = 1.0
    lam: Annotated[float, Meta(ge=0, le=1)] = 0.95
    value_weight: Annotated[float, Meta(ge=0)] = 0.5
    value_clip: Annotated[float, Meta(ge=0)] = 0.2
    """How far a batch may move a value, in units of reward; 0: as far as it likes. Where an episode earns hundreds, a
    limit made for scores near 1 keeps the critic from learning; Andrychowicz et al. 2020 (2006.05990) do without."""
    entropy_weight: Annotated[float, Meta(ge=0)] = 0.0
    kl_start: Annotated[float, Meta(gt=0)] = 0.05
    """Reward lost per nat of KL to the reference, at first. It cannot be zero: reward alone is always cheated."""
    preference: Annotated[float, Meta(gt=0)] = 0.1
    """DPO's own β: the stronger, the sooner a pair counts as learned."""
    kl_target: Annotated[float, Meta(gt=0)] = 6.0
    """Nats a text that the coefficient steers to."""
    kl_horizon: Annotated[int, Meta(ge=1)] = 2000
    """Texts over which the coefficient moves; see Ziegler et al. 2019."""
    length_most: Annotated[int, Meta(ge=0)] = 0
    """Tokens beyond which a text pays ``length_price`` each; 0: no limit but the policy's own."""
    length_price: Annotated[float, Meta(ge=0)] = 0.05
    keep_every: Annotated[int, Meta(ge=1)] = 5
    """Iterations between checkpoints."""


@dataclass(frozen=True)
class Rollout:
    """B texts as their policy wrote them. ``state`` is what the policy needs to read them again; ``earned`` (B, T) what
    each token earned by itself, where that is known before the judge speaks."""

    texts: tuple[str, ...]
    prompts: tuple[int, ...]
    mask: Tensor
    state: dict[str, Tensor]
    earned: Tensor | None = None

    def take(self, rows: Tensor) -> Rollout:
        """The texts of ``rows``."""
        state = {name: tensor[rows] for name, tensor in self.state.items()}
        return Rollout(
            tuple(self.texts[i] for i in rows.tolist()),
            tuple(self.prompts[i] for i in rows.tolist()),
            self.mask[rows],
            state,
            None if self.earned is None else self.earned[rows],
        )


class Policy(Protocol):
    """What PPO trains: a language model, or anything else that writes tokens with a probability."""

    def sample(self, prompts: Sequence[int], seed: int) -> Rollout:
        """One text for each prompt number; the same seed writes the same texts."""
        ...

    def read(self, rollout: Rollout) -> tuple[Tensor, Tensor, Tensor]:
        """Log probability of every token, the entropy there, the value before it: three (B, T), with gradients."""
        ...

    def read_reference(self, rollout: Rollout) -> Tensor:
        """Log probability of every token under the reference: (B, T), without gradients."""
        ...

    def parameters(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        ...


@dataclass(frozen=True)
class Rewards:
    """Of B texts: the proxy's ``score``, its ``doubt`` (spread between heads), ``violations`` (0 or 1), and ``gold``,
    the truth, where it was bought (NaN elsewhere)."""

    score: Floats
    doubt: Floats
    violations: Floats
    gold: Floats


Judge = Callable[[Sequence[str], Sequence[int], int], Rewards]
"""Texts, prompt numbers and the iteration: what they earn. Only the text and its prompt reach it."""


def check_plan(plan: PPOPlan) -> PPOPlan:
    """The plan, its ranges checked: also one that was built in Python, where nothing else looks at it.

    Raises:
        InputError: names the field; a KL coefficient of zero is one such error.
    """
    try:
        checked = msgspec.convert(msgspec.to_builtins(plan), PPOPlan)
    except msgspec.ValidationError as failure:
        from arauto.core.door import explain

        raise explain(failure, PPOPlan) from None
    if checked.batch % checked.group:
        raise InputError("is not a multiple of `group`", field="batch", mend=f"use {checked.group} × a whole number")
    if checked.algorithm != "ppo" and checked.group < 2:
        raise InputError(f"leaves {checked.algorithm} nothing to compare", field="group", mend="use 2 or more")
    return checked


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of ``x`` where ``mask`` is 1."""
    return (x * mask).sum() / mask.sum()


def whiten(x: Tensor, mask: Tensor) -> Tensor:
    """``x`` less its mean, over its standard deviation, where ``mask`` is 1; 0 elsewhere."""
    mean = masked_mean(x, mask)
    variance = masked_mean((x - mean) ** 2, mask)
    return (x - mean) * (variance + 1e-8).rsqrt() * mask


def token_rewards(score: Tensor, logp: Tensor, reference: Tensor, mask: Tensor, beta: float) -> Tensor:
    """r_t = -β (log π(a_t) - log ρ(a_t)), and the text's score at its last token (Ziegler et al. 2019, eq. 2)."""
    rewards = -beta * (logp - reference) * mask
    last = mask.sum(1).long() - 1
    rewards[need("torch").arange(len(score)), last] += score
    return rewards


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Advantages Â_t = Σ (γλ)^l δ_{t+l}, δ_t = r_t + γ V_{t+1} - V_t, and returns Â + V; V is 0 after the end."""
    torch = need("torch")
    advantage = torch.zeros_like(rewards)
    carry = torch.zeros_like(rewards[:, 0])
    following = torch.zeros_like(carry)
    for t in range(rewards.shape[1] - 1, -1, -1):
        here = mask[:, t]
        delta = rewards[:, t] + gamma * following - values[:, t]
        carry = (delta + gamma * lam * carry) * here
        advantage[:, t] = carry
        following = values[:, t] * here
    return advantage, (advantage + values) * mask


def surrogate(logp: Tensor, old: Tensor, advantage: Tensor, mask: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """-L^CLIP (PPO eq. 7): -mean min(r Â, clip(r, 1-ε, 1+ε) Â); and the share of tokens that were clipped."""
    ratio = (logp - old).exp()
    clipped = ratio.clamp(1.0 - clip, 1.0 + clip)
    loss = -need("torch").minimum(ratio * advantage, clipped * advantage)
    return masked_mean(loss, mask), masked_mean((ratio != clipped).to(mask.dtype), mask)


def value_loss(values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float) -> Tensor:
    """½ mean max((V - R)², (clip(V, V_old ± ``clip``) - R)²); ``clip`` 0: ½ mean (V - R)²."""
    if not clip:
        return 0.5 * masked_mean((values - returns) ** 2, mask)
    clipped = old + (values - old).clamp(-clip, clip)
    worse = need("torch").maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * masked_mean(worse, mask)


def group_advantage(score: Tensor, group: int, *, scaled: bool) -> Tensor:
    """RLOO: a score less the mean of its prompt's others; GRPO (``scaled``): less the mean, over the deviation."""
    rows = score.view(-1, group)
    if scaled:
        out = (rows - rows.mean(1, keepdim=True)) / (rows.std(1, keepdim=True, unbiased=False) + 1e-6)
    else:
        out = (rows - rows.mean(1, keepdim=True)) * group / max(group - 1, 1)
    return out.reshape(-1)


def preferred(score: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Of each prompt's texts the row of the best and of the worst; a prompt whose texts earn the same has none."""
    torch = need("torch")
    rows = score.view(-1, group)
    first = torch.arange(0, score.numel(), group)
    best, worst = first + rows.argmax(1), first + rows.argmin(1)
    apart = score[best] > score[worst]
    return best[apart], worst[apart]


def preference_loss(better: Tensor, worse: Tensor, beta: float) -> Tensor:
    """DPO eq. 7: -mean log σ(β (better - worse)), each a text's log π / ρ."""
    return -need("torch").nn.functional.logsigmoid(beta * (better - worse)).mean()


def next_beta(beta: float, kl: float, plan: PPOPlan) -> float:
    """Ziegler et al. 2019: β ← β (1 + e n / horizon), e = clip(KL / target - 1, ±0.2)."""
    error = min(max(kl / plan.kl_target - 1.0, -0.2), 0.2)
    return max(beta * (1.0 + error * plan.batch / plan.kl_horizon), 1e-6)


@dataclass(frozen=True)
class Outcome:
    """How a run ended. ``verdict`` is None when it ran its course; ``best`` is the iteration whose policy is kept."""

    readings: list[Reading]
    verdict: Verdict | None
    best: int


class PPO:
    """One run: samples, judges, learns, watches; stops and goes back to the best policy when the monitor says so."""

    def __init__(
        self,
        policy: Policy,
        judge: Judge,
        prompts: int,
        plan: PPOPlan,
        *,
        seed: int,
        monitor: Monitor | None = None,
        work: Path | None = None,
    ) -> None:
        """``prompts`` are numbered from 0. ``work`` keeps checkpoints; a run that finds one goes on from it."""
        self.plan = check_plan(plan)
        self.policy = policy
        self.judge = judge
        self.monitor = monitor or Monitor()
        self._prompts = prompts
        self._seed = seed
        self._work = work
        self._parameters = policy.parameters()
        self._optimiser = need("torch").optim.Adam(list(self._parameters.values()), lr=plan.learning_rate, eps=1e-5)
        self._beta = plan.kl_start
        self._kept: dict[str, Tensor] = self._copy()
        self._best = -1

    def run(self, progress: Progress = silent, *, stopped: Callable[[], bool] = never) -> Outcome:
        """Every iteration that is left. Ends early, with the best policy restored, on the monitor's verdict.

        Raises:
            Stopped: ``stopped()`` was true; what was kept last is where the next run goes on.
        """
        done = self._resume()
        verdict = self.monitor.verdict()
        for iteration in range(done, self.plan.iterations):
            if verdict is not None:
                break
            if stopped():
                raise Stopped
            reading = self.step(iteration)
            self.monitor.observe(reading)
            verdict = self.monitor.verdict()
            if verdict is None and self.monitor.best() == iteration:
                self._kept, self._best = self._copy(), iteration
            if (iteration + 1) % self.plan.keep_every == 0 or iteration + 1 == self.plan.iterations or verdict:
                self._save(iteration + 1)
            progress(iteration + 1, self.plan.iterations, f"reward {reading.reward:.3f}, KL {reading.kl:.2f}")
        if verdict is not None:
            self._restore()
        return Outcome(self.monitor.readings, verdict, self._best if verdict else len(self.monitor.readings) - 1)

    def step(self, iteration: int) -> Reading:
        """One batch: sample, judge, learn. What was seen of it."""
        torch, plan = need("torch"), self.plan
        rng = np.random.default_rng([self._seed, iteration])
        chosen = rng.integers(self._prompts, size=plan.batch // plan.group).repeat(plan.group)
        with torch.no_grad():
            rollout = self.policy.sample(chosen.tolist(), seed=int(rng.integers(2**31)))
            old_logp, entropy, old_values = (x.detach() for x in self.policy.read(rollout))
            reference = self.policy.read_reference(rollout)
        earned = self.judge(rollout.texts, rollout.prompts, iteration)
        mask = rollout.mask
        score = torch.tensor(earned.score, dtype=old_logp.dtype) - self._length_cost(mask)
        kl = ((old_logp - reference) * mask).sum(1)
        steps = torch.zeros_like(old_logp) if rollout.earned is None else rollout.earned * mask
        earned = replace(earned, score=earned.score + steps.sum(1).double().numpy())
        if plan.algorithm == "dpo":
            clipped, miss = 0.0, self._prefer(rollout, rng, score + steps.sum(1), reference)
        else:
            advantage, returns = self._advantages(score, steps, old_logp, reference, old_values, mask)
            clipped, miss = self._learn(rollout, rng, old_logp, old_values, advantage, returns)
        mean_kl = float(kl.mean())
        reading = Reading.of(
            iteration, rollout.texts, earned, kl=mean_kl, beta=self._beta, clip_fraction=clipped, value_loss=miss,
            entropy=float(masked_mean(entropy, mask)), length=float(mask.sum(1).mean()),
        )  # fmt: skip
        self._beta = next_beta(self._beta, mean_kl, plan)
        return reading

    def _length_cost(self, mask: Tensor) -> Tensor:
        if not self.plan.length_most:
            return 0.0
        return self.plan.length_price * (mask.sum(1) - self.plan.length_most).clamp(min=0.0)

    def _advantages(
        self, score: Tensor, steps: Tensor, logp: Tensor, reference: Tensor, values: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        plan = self.plan
        if plan.algorithm == "ppo":
            rewards = token_rewards(score, logp, reference, mask, self._beta) + steps
            advantage, returns = gae(rewards, values, mask, plan.gamma, plan.lam)
            return whiten(advantage, mask), returns
        penalised = score + steps.sum(1) - self._beta * ((logp - reference) * mask).sum(1)
        advantage = group_advantage(penalised, plan.group, scaled=plan.algorithm == "grpo")
        if plan.algorithm == "rloo":
            advantage = advantage / (advantage.std() + 1e-8)
        return advantage[:, None] * mask, values

    def _learn(
        self,
        rollout: Rollout,
        rng: np.random.Generator,
        logp: Tensor,
        values: Tensor,
        advantage: Tensor,
        returns: Tensor,
    ) -> tuple[float, float]:
        """The epochs of minibatches. The mean clip fraction and value loss."""
        torch, plan = need("torch"), self.plan
        seen: list[tuple[float, float]] = []
        for _ in range(plan.epochs):
            order = torch.tensor(rng.permutation(plan.batch))
            for rows in order.split(plan.minibatch):
                part = rollout.take(rows)
                new_logp, entropy, new_values = self.policy.read(part)
                loss, clipped = surrogate(new_logp, logp[rows], advantage[rows], part.mask, plan.clip)
                miss = value_loss(new_values, values[rows], returns[rows], part.mask, plan.value_clip)
                loss = loss - plan.entropy_weight * masked_mean(entropy, part.mask)
                if plan.algorithm == "ppo":
                    loss = loss + plan.value_weight * miss
                self._descend(loss)
                seen.append((float(clipped.detach()), float(miss.detach())))
        clips, misses = zip(*seen, strict=True)
        return float(np.mean(clips)), float(np.mean(misses))

    def _prefer(self, rollout: Rollout, rng: np.random.Generator, score: Tensor, reference: Tensor) -> float:
        """The epochs of minibatches of DPO. The mean loss; 0 where the judge saw no difference."""
        torch, plan = need("torch"), self.plan
        best, worst = preferred(score, plan.group)
        seen: list[float] = []
        for _ in range(plan.epochs):
            order = torch.tensor(rng.permutation(len(best)))
            for some in order.split(max(plan.minibatch // 2, 1)) if len(best) else ():
                rows = torch.cat([best[some], worst[some]])
                part = rollout.take(rows)
                moved = ((self.policy.read(part)[0] - reference[rows]) * part.mask).sum(1)
                loss = preference_loss(moved[: len(some)], moved[len(some) :], plan.preference)
                self._descend(loss)
                seen.append(float(loss.detach()))
        return float(np.mean(seen)) if seen else 0.0

    def _descend(self, loss: Tensor) -> None:
        self._optimiser.zero_grad()
        loss.backward()
        need("torch").nn.utils.clip_grad_norm_(list(self._parameters.values()), 1.0)
        self._optimiser.step()

    def _copy(self) -> dict[str, Tensor]:
        return {name: parameter.detach().clone() for name, parameter in self._parameters.items()}

    def _restore(self) -> None:
        with need("torch").no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(self._kept[name])

    def _save(self, done: int) -> None:
        if self._work is None:
            return
        notes = {
            "beta": repr(self._beta),
            "best": str(self._best),
            "readings": msgspec.json.encode(self.monitor.readings).decode(),
            "plan": self._lasting(),
            "seed": str(self._seed),
        }
        kept = {f"best.{name}": tensor for name, tensor in self._kept.items()}
        save_state(self._work / CHECKPOINT, done, self._parameters | kept, self._optimiser, notes)

    def _lasting(self) -> str:
        """The plan less its length: nothing that an iteration does depends on that, so a run can be made longer."""
        return json.dumps(msgspec.to_builtins(msgspec.structs.replace(self.plan, iterations=1)), sort_keys=True)

    def _resume(self) -> int:
        """Where the run stands; 0 when it has not begun.

        Raises:
            InputError: the checkpoint is of another plan or seed.
        """
        path = self._work / CHECKPOINT if self._work else None
        if path is None or not path.exists():
            return 0
        notes = read_notes(path)
        if notes.get("plan") != self._lasting() or notes.get("seed") != str(self._seed):
            raise InputError(
                f"{path.parent} holds a run of another plan or seed", field="work", mend="give a new folder"
            )
        kept = {f"best.{name}": tensor for name, tensor in self._kept.items()}
        done = load_state(path, self._parameters | kept, self._optimiser)
        self._beta, self._best = float(notes["beta"]), int(notes["best"])
        self.monitor.readings[:] = msgspec.json.decode(notes["readings"], type=list[Reading])
        return done
