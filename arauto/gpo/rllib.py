"""PPO of an action policy by RLlib: its episodes are played by workers of a Ray cluster; the policy is ours throughout.

RLlib is the extra ``arauto[rllib]``; this module is imported once Ray is connected. What it learns is what
:class:`~arauto.gpo.episodes.EpisodePolicy` holds, so that playing, judging and saving are the same afterwards. A
player whose worker died is begun anew, and what it was playing is played again. RLlib counts steps, not episodes: a
batch is as many steps as the plan's episodes took at first.

KL to the reference is, per step, added to the loss, as PPO's clipped surrogate has no place for it in the reward
(arauto.gpo.ppo takes it from the reward); its coefficient adapts alike.
"""

from __future__ import annotations

import copy
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from arauto.core.errors import EngineError, InputError
from arauto.core.spread import LOOK_S, Stopped, connected, never
from arauto.gpo.episodes import EpisodePolicy
from arauto.gpo.monitors import Monitor, Reading
from arauto.gpo.ppo import Outcome, PPOPlan, check_plan, next_beta
from arauto.gpo.progress import Progress, silent

try:
    import gymnasium
    from ray.rllib.algorithms.ppo import PPO, PPOConfig
    from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
    from ray.rllib.core.columns import Columns
    from ray.rllib.core.rl_module.apis.value_function_api import ValueFunctionAPI
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec
    from ray.rllib.core.rl_module.torch import TorchRLModule
except ModuleNotFoundError as missing:
    raise InputError(f"{missing.name} is not installed", field="ray", mend="pip install 'arauto[rllib]'") from None

_MODULE = "default_policy"
_KL = "kl_to_reference"
PATIENCE_S = 300.0
"""How long a player may take to come back when all are dead."""


class _Game(gymnasium.Env):  # type: ignore[misc]
    """An environment of ours as Gymnasium's: prompts by chance, no episode longer than the policy plays."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._inner = given["make"]()
        self._prompts, self._most, self._steps = given["prompts"], given["most_steps"], 0
        self._draw = np.random.default_rng(0)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (given["observation"],), np.float32)
        self.action_space = gymnasium.spaces.Discrete(given["actions"])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        del options
        if seed is not None:
            self._draw = np.random.default_rng(seed)
        self._steps = 0
        prompt = {"prompt": int(self._draw.integers(self._prompts))}
        seen, _ = self._inner.reset(seed=int(self._draw.integers(2**31)), options=prompt)
        return np.asarray(seen, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        seen, reward, ended, cut, _ = self._inner.step(int(action))
        self._steps += 1
        return np.asarray(seen, np.float32), float(reward), bool(ended), bool(cut) or self._steps >= self._most, {}


class _Acting(TorchRLModule, ValueFunctionAPI):  # type: ignore[misc]
    """The two networks of the policy, and its rule of what is allowed."""

    def setup(self) -> None:
        policy = copy.deepcopy(self.model_config["policy"])
        self.actor, self.critic = policy.actor, policy.critic
        self._policy = [policy]  # in a list: its parameters are not a second time this module's

    def log(self, seen: Any) -> Any:
        """log π(a | observation)."""
        return self._policy[0].log_of(seen, self.actor)

    def log_of_reference(self, seen: Any) -> Any:
        """log ρ(a | observation)."""
        return self._policy[0].log_of(seen)

    def _forward(self, batch: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {Columns.ACTION_DIST_INPUTS: self.log(batch[Columns.OBS])}

    def compute_values(self, batch: dict[str, Any], embeddings: Any = None) -> Any:
        del embeddings
        return self.critic(batch[Columns.OBS])[..., 0]


class _Anchored(PPOTorchLearner):  # type: ignore[misc]
    """RLlib's loss, and what being far from the reference costs: ``beta`` a nat."""

    beta = 0.0

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Any:
        loss = super().compute_loss_for_module(module_id=module_id, config=config, batch=batch, fwd_out=fwd_out)
        module = self.module[module_id].unwrapped()
        log = module.log(batch[Columns.OBS])
        kl = (log.exp() * (log - module.log_of_reference(batch[Columns.OBS]).detach())).sum(-1)
        mask = batch.get(Columns.LOSS_MASK)
        mean = kl.mean() if mask is None else kl[mask].mean()
        self.metrics.log_value((module_id, _KL), mean.detach(), window=1)
        return loss + self.beta * mean


class _Quiet(PPO):  # type: ignore[misc]
    """RLlib's, but it keeps nothing in the home folder."""

    def _setup_logdir(self) -> None:
        self._logdir = tempfile.mkdtemp(prefix="arauto-rllib-")


def optimise(
    policy: EpisodePolicy,
    prompts: int,
    plan: PPOPlan,
    *,
    seed: int,
    ray: str,
    monitor: Monitor | None = None,
    runners: int = 2,
    progress: Progress = silent,
    stopped: Callable[[], bool] = never,
) -> Outcome:
    """What :meth:`arauto.gpo.ppo.PPO.run` does, by RLlib on the cluster at ``ray``, with ``runners`` that play.

    Left out: the plan's groups, parts and lengths of texts, and checkpoints; a run that is stopped keeps what the
    policy had learned by then, one whose own process dies begins anew.

    Raises:
        Stopped: ``stopped()`` was true, asked between two iterations.
        InputError: RLlib is not installed, or the plan is of another algorithm.
        EngineError: no cluster answers, or no runner is left alive.
    """
    plan, watch = check_plan(plan), monitor or Monitor()
    if plan.algorithm != "ppo":
        raise InputError(
            f"is {plan.algorithm}", field="algorithm", mend="RLlib does `ppo`; leave `ray` empty for others"
        )
    connected(ray)
    algorithm = _configured(policy, prompts, plan, seed, runners).build_algo()
    beta, verdict, best, kept = plan.kl_start, watch.verdict(), -1, _copy(policy)
    try:
        for iteration in range(plan.iterations):
            if verdict is not None:
                break
            if stopped():
                raise Stopped
            algorithm.learner_group.foreach_learner(lambda learner, beta=beta: setattr(learner, "beta", beta))
            reading = _reading(iteration, _result(algorithm, stopped), beta)
            _take(policy, algorithm)
            beta = next_beta(beta, reading.kl, plan)
            watch.observe(reading)
            verdict = watch.verdict()
            if verdict is None and watch.best() == iteration:
                kept, best = _copy(policy), iteration
            progress(iteration + 1, plan.iterations, f"reward {reading.reward:.3f}, KL {reading.kl:.2f}")
    finally:
        algorithm.stop()
        shutil.rmtree(algorithm.logdir, ignore_errors=True)
    if verdict is not None:
        _put(policy, kept)
    return Outcome(watch.readings, verdict, best if verdict else len(watch.readings) - 1)


def _configured(policy: EpisodePolicy, prompts: int, plan: PPOPlan, seed: int, runners: int) -> Any:
    first = policy.sample([i % prompts for i in range(8)], seed=seed)
    steps = max(plan.minibatch, round(plan.batch * float(first.mask.sum(1).mean())))
    given = {
        "make": policy.make, "prompts": prompts, "most_steps": policy.most_steps, "actions": policy.actions,
        "observation": int(first.state["seen"].shape[-1]),
    }  # fmt: skip
    model = RLModuleSpec(module_class=_Acting, model_config={"policy": policy.elsewhere(policy.make)})
    config = PPOConfig(algo_class=_Quiet).environment(_Game, env_config=given).framework("torch").debugging(seed=seed)
    config = config.env_runners(num_env_runners=runners, num_envs_per_env_runner=4)
    config = config.fault_tolerance(restart_failed_env_runners=True, delay_between_env_runner_restarts_s=0.0)
    config = config.rl_module(rl_module_spec=model)
    return config.training(
        lr=plan.learning_rate, gamma=plan.gamma, lambda_=plan.lam, clip_param=plan.clip, num_epochs=plan.epochs,
        minibatch_size=min(steps, max(plan.minibatch, steps // 16)), train_batch_size_per_learner=steps,
        vf_loss_coeff=plan.value_weight, vf_clip_param=plan.value_clip or math.inf, grad_clip=1.0,
        grad_clip_by="global_norm", entropy_coeff=plan.entropy_weight, use_kl_loss=False, learner_class=_Anchored,
    )  # fmt: skip


def _result(algorithm: Any, stopped: Callable[[], bool]) -> dict[str, Any]:
    """One iteration. Where no player was alive, RLlib answers at once that nothing was learned: it is asked again."""
    from ray.exceptions import RayError

    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            found: dict[str, Any] = algorithm.train()
        except (RayError, RuntimeError) as failure:
            raise _lost(f"{type(failure).__name__}: {failure}".splitlines()[0][:200]) from failure
        if math.isfinite(float(found.get("learners", {}).get(_MODULE, {}).get(_KL, math.nan))):
            return found
        if stopped():
            raise Stopped
        if time.monotonic() > until:
            raise _lost(f"nobody has played for {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)


def _lost(why: str) -> EngineError:
    return EngineError(f"an iteration was not done: {why}", field="ray", mend="look at the cluster: `ray status`")


def _reading(iteration: int, result: dict[str, Any], beta: float) -> Reading:
    played, learned = result["env_runners"], result["learners"][_MODULE]
    length = float(played["episode_len_mean"])
    return Reading(
        iteration=iteration, reward=float(played["episode_return_mean"]), reward_error=math.nan,
        kl=float(learned[_KL]) * length, beta=beta, clip_fraction=math.nan, entropy=float(learned["entropy"]),
        length=length, diversity=1.0, value_loss=float(learned["vf_loss"]), disagreement=0.0, violations=0.0, audits=[],
    )  # fmt: skip


def _take(policy: EpisodePolicy, algorithm: Any) -> None:
    """What was learned, into the policy."""
    _put(policy, dict(algorithm.get_module(_MODULE).named_parameters()))


def _put(policy: EpisodePolicy, values: dict[str, Any]) -> None:
    for name, parameter in policy.parameters().items():
        parameter.data.copy_(values[name].detach())


def _copy(policy: EpisodePolicy) -> dict[str, Any]:
    return {name: parameter.detach().clone() for name, parameter in policy.parameters().items()}
