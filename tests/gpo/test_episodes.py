"""Policies that act, in a corridor: right is paid at its end, and each step costs."""

import numpy as np
import pytest

from arauto.core.errors import InputError, ModelFileError
from arauto.gpo import (
    PPO,
    EpisodePolicy,
    Log,
    Monitor,
    PPOPlan,
    StopRule,
    earned_in_episode,
    imitate,
    learn_from_log,
    log_of,
)
from arauto.gpo.ppo import value_loss
from arauto.gpo.tables import TablePolicy
from tests.late import late

torch = late("torch")

QUIET = StopRule(diversity_least=0.0, kl_most=1e9, warm_up=10**6)


class Corridor:
    """Five places; 0 goes left, 1 right, 2 stays. The prompt's number is the first place."""

    def reset(self, *, seed=None, options=None):
        self.at, self.steps = options["prompt"], 0
        return np.eye(5)[self.at], {}

    def step(self, action):
        self.at = max(0, self.at + (-1, 1, 0)[action])
        self.steps += 1
        done = self.at == 4
        return np.eye(5)[self.at], 1.0 if done else -0.05, done, self.steps == 12, {}


@pytest.fixture
def policy():
    return EpisodePolicy(Corridor, 5, 3, hidden=16, most_steps=20, seed=1)


def test_an_episode_is_a_rollout(policy):
    one, two = policy.sample([0, 3], seed=4), policy.sample([0, 3], seed=4)
    assert one.texts == two.texts
    assert one.mask.shape == one.earned.shape == one.state["tokens"].shape
    assert one.mask[0].sum() <= 12
    for row, length in enumerate(one.mask.sum(1).int().tolist()):
        places = one.state["seen"][row, :length].argmax(1).tolist()
        for here, there, action in zip(places, places[1:], one.state["tokens"][row].tolist(), strict=False):
            assert there == max(0, here + (-1, 1, 0)[action])
    logp, entropy, value = policy.read(one)
    assert torch.allclose(logp.exp()[one.mask.bool()], one.state["chance"].float()[one.mask.bool()], atol=1e-5)
    assert torch.equal(policy.read_reference(one), logp.detach())
    assert entropy.max() <= np.log(3) + 1e-6
    assert value.shape == logp.shape


def test_ppo_learns_to_walk_and_knows_what_each_step_earned(policy):
    plan = PPOPlan(
        iterations=30, batch=32, group=1, minibatch=32, epochs=4, learning_rate=0.02, gamma=0.99, kl_start=0.001,
        kl_horizon=10**9,
    )  # fmt: skip
    run = PPO(policy, earned_in_episode, 4, plan, seed=0, monitor=Monitor(QUIET))
    readings = run.run().readings
    assert readings[0].reward < 0.6
    assert readings[-1].reward > 0.85
    assert readings[-1].kl > 1.0
    assert policy.probabilities(np.eye(5)[:4])[:, 1].min() > 0.9


@pytest.mark.parametrize("algorithm", ["rloo", "grpo"])
def test_group_advantages_count_the_steps_too(algorithm):
    policy = EpisodePolicy(Corridor, 5, 3, hidden=16, most_steps=20, seed=1)
    plan = PPOPlan(
        algorithm=algorithm, iterations=25, batch=32, group=4, minibatch=32, epochs=4, learning_rate=0.02,
        kl_start=0.001, kl_horizon=10**9,
    )  # fmt: skip
    readings = PPO(policy, earned_in_episode, 4, plan, seed=0, monitor=Monitor(QUIET)).run().readings
    assert readings[-1].reward > readings[0].reward + 0.2


def test_demonstrations_are_imitated_and_become_the_reference(policy):
    rng = np.random.default_rng(0)
    places = rng.integers(4, size=600)
    action = np.where(rng.random(600) < 0.8, 1, 0)
    ones = np.ones(600)
    right = imitate(
        policy, Log(np.eye(5, dtype=np.float32)[places], action, ones, ones), seed=0, epochs=20, learning_rate=0.01
    )
    assert right == pytest.approx(0.8, abs=0.1)
    assert policy.probabilities(np.eye(5)[:4])[:, 1] == pytest.approx(np.full(4, 0.8), abs=0.1)
    rollout = policy.sample([0, 1], seed=1)
    assert torch.equal(policy.read_reference(rollout), policy.read(rollout)[0].detach())


def test_a_log_of_another_policy_is_corrected_for():
    """The best action was taken once in twenty; the worst, most often. Uncorrected, the habit would be learned."""
    rng = np.random.default_rng(1)
    chance = np.array([0.9, 0.05, 0.05])
    action = rng.choice(3, size=4000, p=chance)
    earned = np.array([0.4, 1.0, 0.0])[action] + rng.normal(0, 0.1, 4000)
    policy = EpisodePolicy(Corridor, 5, 3, hidden=16, seed=2)
    log = Log(np.ones((4000, 5), np.float32), action, chance[action], earned)
    learn_from_log(policy, log, seed=0, epochs=6, learning_rate=3e-3, cap=30.0)
    assert policy.probabilities(np.ones((1, 5)))[0].argmax() == 1


def test_an_own_log_holds_what_came_after_each_action(policy):
    rollout = policy.sample([0] * 6, seed=9)
    log = log_of(rollout, gamma=0.5)
    assert len(log.action) == int(rollout.mask.sum())
    length = int(rollout.mask[0].sum())
    paid = rollout.earned[0, :length].tolist()
    assert log.earned[0] == pytest.approx(sum(x * 0.5**t for t, x in enumerate(paid)), abs=1e-5)
    assert log.earned[length - 1] == pytest.approx(paid[-1])
    learn_from_log(policy, log, seed=0, epochs=1)
    with pytest.raises(InputError, match="not episodes"):
        log_of(TablePolicy(3, 2).sample([0], seed=1))


def test_saved_policies_act_the_same(policy, tmp_path):
    many = np.eye(5, dtype=np.float32).repeat(4, axis=0)
    imitate(policy, Log(many, np.ones(20, int), np.ones(20), np.ones(20)), seed=0, epochs=2)
    policy.save(tmp_path / "policy.safetensors")
    other = EpisodePolicy(Corridor, 5, 3, hidden=16, seed=8)
    other.load(tmp_path / "policy.safetensors")
    assert other.probabilities(np.eye(5)).tobytes() == policy.probabilities(np.eye(5)).tobytes()
    with pytest.raises(ModelFileError, match="another policy"):
        EpisodePolicy(Corridor, 5, 4, hidden=16).load(tmp_path / "policy.safetensors")


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("log", {"earned": np.ones(2)}),
        ("action", {"action": np.array([0, 9, 1])}),
        ("propensity", {"propensity": np.zeros(3)}),
    ],
)
def test_a_wrong_log_is_refused(policy, field, change):
    whole = {"seen": np.eye(5, dtype=np.float32)[:3], "action": np.array([0, 1, 2])}
    whole |= {"propensity": np.ones(3), "earned": np.ones(3)}
    with pytest.raises(InputError) as error:
        learn_from_log(policy, Log(**(whole | change)), seed=0)
    assert error.value.field == field


def test_what_is_not_allowed_is_never_done_nor_learned():
    """Place 2 forbids going left: no episode does, and neither reading nor imitation gives it a chance."""

    def allowed(seen):
        free = torch.ones((*seen.shape[:-1], 3), dtype=torch.bool)
        free[..., 0] = seen[..., 2] == 0
        return free

    policy = EpisodePolicy(Corridor, 5, 3, hidden=16, most_steps=20, allowed=allowed, seed=1)
    rollout = policy.sample([2] * 64, seed=0)
    there = rollout.state["seen"][..., 2] == 1
    assert there.sum() > 64
    assert not ((rollout.state["tokens"] == 0) & there & rollout.mask.bool()).any()
    logp, entropy, _ = policy.read(rollout)
    assert torch.isfinite(logp[rollout.mask.bool()]).all()
    assert torch.isfinite(entropy).all()
    assert entropy[there].max() <= np.log(2) + 1e-6
    learn_from_log(policy, log_of(rollout), seed=0, epochs=3)
    assert policy.probabilities(np.eye(5))[2, 0] == 0.0
    assert policy.probabilities(np.eye(5))[1].min() > 0.0


def test_a_log_praises_an_action_for_more_than_its_state_promised():
    """State 0 earns about 10 whatever is done, state 1 earns 1 or 0: praise for what is earned would go to state 0."""
    rng = np.random.default_rng(0)
    state, action = rng.integers(2, size=4000), rng.integers(2, size=4000)
    earned = np.where(state == 0, 10.0 + rng.normal(0.0, 0.5, 4000), (action == 1) * 1.0)
    log = Log(np.eye(2, dtype=np.float32)[state], action, np.full(4000, 0.5), earned)
    policy = EpisodePolicy(Corridor, 2, 2, hidden=16, seed=0)
    learn_from_log(policy, log, seed=0, epochs=30, learning_rate=3e-3)
    assert policy.probabilities(np.eye(2))[1, 1] > 0.9
    promised = policy.critic(torch.eye(2))[:, 0].tolist()
    assert promised == [pytest.approx(10.0, abs=0.3), pytest.approx(0.5, abs=0.2)]


def test_a_critic_may_move_as_far_as_it_likes():
    values, returns, mask = torch.zeros(1, 3), torch.full((1, 3), 100.0), torch.ones(1, 3)
    moved = (values + 50.0).requires_grad_()
    value_loss(moved, values, returns, mask, 0.2).backward()
    assert moved.grad.abs().max() == 0.0
    moved.grad = None
    value_loss(moved, values, returns, mask, 0.0).backward()
    assert moved.grad.max() < 0.0
