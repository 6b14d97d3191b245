"""PPO against its papers: the algebra by hand, an exact optimum, and a run that is killed."""

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from arauto.core.errors import InputError
from arauto.gpo.monitors import Monitor, StopRule
from arauto.gpo.ppo import (
    PPO,
    PPOPlan,
    Rewards,
    check_plan,
    gae,
    group_advantage,
    next_beta,
    preference_loss,
    preferred,
    surrogate,
    token_rewards,
    whiten,
)
from arauto.gpo.tables import TablePolicy
from tests.late import late

torch = late("torch")

QUIET = StopRule(diversity_least=0.0, kl_most=1e9, warm_up=10**6)


def judge_by(score):
    def judge(texts, prompts, iteration):
        proxy = np.array([score(text) for text in texts])
        nothing = np.zeros(len(texts))
        return Rewards(proxy, nothing, nothing, np.full(len(texts), np.nan))

    return judge


def test_gae_is_the_sum_of_the_paper():
    rng = np.random.default_rng(0)
    rewards, values = (torch.tensor(rng.normal(size=(2, 4))) for _ in range(2))
    mask = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0]], dtype=torch.float64)
    advantage, returns = gae(rewards * mask, values, mask, gamma=0.9, lam=0.8)
    for row, length in ((0, 4), (1, 2)):
        for t in range(length):
            after = [values[row, k + 1].item() if k + 1 < length else 0.0 for k in range(length)]
            delta = [rewards[row, k].item() + 0.9 * after[k] - values[row, k].item() for k in range(length)]
            expected = sum((0.9 * 0.8) ** (k - t) * delta[k] for k in range(t, length))
            assert advantage[row, t].item() == pytest.approx(expected)
            assert returns[row, t].item() == pytest.approx(expected + values[row, t].item())
    assert advantage[1, 2:].abs().sum() == 0


def test_surrogate_stops_paying_outside_the_clip():
    old, mask = torch.zeros(1, 1), torch.ones(1, 1)
    for ratio, advantage, expected in ((1.5, 1.0, 1.2), (0.5, 1.0, 0.5), (0.5, -1.0, -0.8), (1.5, -1.0, -1.5)):
        loss, clipped = surrogate(torch.full((1, 1), math.log(ratio)), old, torch.full((1, 1), advantage), mask, 0.2)
        assert loss.item() == pytest.approx(-expected)
        assert clipped.item() == 1.0


def test_reward_is_the_score_at_the_last_token_less_the_kl():
    mask = torch.tensor([[1.0, 1, 0]])
    rewards = token_rewards(torch.tensor([2.0]), torch.tensor([[0.5, 0.5, 9.0]]), torch.zeros(1, 3), mask, beta=0.1)
    assert rewards.tolist() == [[pytest.approx(-0.05), pytest.approx(1.95), 0.0]]


def test_whiten_and_group_advantages():
    mask = torch.tensor([[1.0, 1], [1, 0]])
    white = whiten(torch.tensor([[1.0, 2], [3, 99]]), mask)
    assert white.sum().item() == pytest.approx(0.0, abs=1e-6)
    assert (white**2).sum().item() / 3 == pytest.approx(1.0, abs=1e-4)
    assert white[1, 1] == 0
    loo = group_advantage(torch.tensor([1.0, 2, 6, 0, 0, 0]), 3, scaled=False)
    assert loo.tolist() == pytest.approx([1 - 4, 2 - 3.5, 6 - 1.5, 0, 0, 0])
    assert group_advantage(torch.tensor([0.0, 2]), 2, scaled=True).tolist() == pytest.approx([-1, 1], abs=1e-5)


def test_beta_follows_the_kl_and_never_dies():
    plan = PPOPlan(kl_target=6.0, batch=100, group=1, kl_horizon=1000)
    assert next_beta(0.1, 60.0, plan) == pytest.approx(0.1 * 1.02)
    assert next_beta(0.1, 0.0, plan) == pytest.approx(0.1 * 0.98)
    assert next_beta(1e-6, 0.0, plan) > 0


def test_zero_kl_is_refused():
    with pytest.raises(InputError) as error:
        check_plan(PPOPlan(kl_start=0.0))
    assert error.value.field == "kl_start"
    with pytest.raises(InputError, match="multiple of `group`"):
        check_plan(PPOPlan(batch=10, group=4))
    with pytest.raises(InputError, match="nothing to compare"):
        check_plan(PPOPlan(algorithm="dpo", group=1))


@pytest.mark.parametrize("algorithm", ["ppo", "rloo", "grpo"])
def test_the_exact_optimum_is_found(algorithm):
    """One token: the KL-regularised optimum is the softmax of reward over β. PPO's adaptive β is held still."""
    earned = {"a": 1.0, "b": 0.5, "c": 0.0, "d": -0.5}
    beta = 0.5
    plan = PPOPlan(
        algorithm=algorithm, iterations=100, batch=256, group=4, minibatch=128, epochs=2, learning_rate=0.02,
        kl_start=beta, kl_target=0.3, kl_horizon=10**9,
    )  # fmt: skip
    policy = TablePolicy(4, 1, words=tuple(earned))
    PPO(policy, judge_by(earned.__getitem__), 1, plan, seed=3, monitor=Monitor(QUIET)).run()
    found = policy.logits[0, 4].softmax(-1).detach().numpy()
    weights = np.exp(np.array(list(earned.values())) / beta)
    exact = weights / weights.sum()
    # GRPO divides by the group's deviation, which changes the optimum: it only has to rank as the exact one does.
    if algorithm == "grpo":
        assert np.argsort(found).tolist() == np.argsort(exact).tolist()
    else:
        assert np.abs(found - exact).sum() / 2 < 0.05


def test_preferences_are_learned_and_ties_are_not():
    """Best over worst of each prompt: the policy moves to what is preferred; where all earn the same it stays."""
    earned = {"a": 1.0, "b": 0.5, "c": 0.0, "d": -0.5}
    plan = PPOPlan(
        algorithm="dpo", iterations=30, batch=64, group=4, minibatch=32, learning_rate=0.02, kl_target=9.0
    )  # fmt: skip
    policy = TablePolicy(4, 1, words=tuple(earned))
    readings = PPO(policy, judge_by(earned.__getitem__), 1, plan, seed=3, monitor=Monitor(QUIET)).run().readings
    found = policy.logits[0, 4].softmax(-1).detach().numpy()
    assert found[0] > 0.6
    assert found[0] > found[1] > found[2:].max()
    assert readings[-1].kl > readings[0].kl
    assert readings[0].value_loss == pytest.approx(np.log(2), abs=0.05)
    still = TablePolicy(4, 1, words=tuple(earned))
    PPO(still, judge_by(lambda _: 1.0), 1, plan, seed=3, monitor=Monitor(QUIET)).run()
    assert still.logits[0, 4].tolist() == TablePolicy(4, 1).logits[0, 4].tolist()


def test_the_preference_loss_is_the_papers():
    best, worst = preferred(torch.tensor([1.0, 3.0, 2.0, 5.0, 5.0, 5.0]), 3)
    assert (best.tolist(), worst.tolist()) == ([1], [0])
    loss = preference_loss(torch.tensor([2.0]), torch.tensor([-1.0]), 0.5)
    assert loss.item() == pytest.approx(-np.log(1 / (1 + np.exp(-1.5))))


def test_a_chain_of_tokens_reaches_its_optimum():
    """Three tokens, paid for each "a b" step: the exact soft optimum by dynamic programming over the last token."""
    words, beta, length = ("a", "b", "c"), 0.3, 3

    def score(text):
        row = text.split()
        return float(sum(x == "a" and y == "b" for x, y in pairwise(row)))

    pay = np.zeros((4, 3))
    pay[0, 1] = 1.0
    value = np.zeros(4)
    for _ in range(length):
        value = np.array([beta * np.log(np.mean(np.exp((pay[s] + value[:3]) / beta))) for s in range(4)])
    plan = PPOPlan(
        iterations=100, batch=256, group=1, minibatch=128, epochs=2, learning_rate=0.03, kl_start=beta,
        kl_target=1.0, kl_horizon=10**9,
    )  # fmt: skip
    policy = TablePolicy(3, length, words=words)
    ppo = PPO(policy, judge_by(score), 1, plan, seed=1, monitor=Monitor(QUIET))
    outcome = ppo.run()
    tail = outcome.readings[-20:]
    reached = np.mean([r.reward - beta * r.kl for r in tail])
    assert reached == pytest.approx(value[3], rel=0.1)


def test_another_plan_does_not_go_on_from_a_checkpoint(tmp_path):
    plan = PPOPlan(iterations=1, batch=8, group=1, minibatch=8)
    judge = judge_by(len)
    PPO(TablePolicy(3, 2), judge, 1, plan, seed=0, work=tmp_path).run()
    other = msgspec.structs.replace(plan, clip=0.3)
    with pytest.raises(InputError, match="another plan or seed"):
        PPO(TablePolicy(3, 2), judge, 1, other, seed=0, work=tmp_path).run()


def test_a_run_made_longer_is_the_long_run(tmp_path):
    plan = PPOPlan(iterations=6, batch=16, group=1, minibatch=8, learning_rate=0.05)
    judge = judge_by(lambda text: float(text.count("w0")))
    policies = [TablePolicy(3, 2) for _ in range(2)]
    PPO(policies[0], judge, 1, msgspec.structs.replace(plan, iterations=3), seed=0, work=tmp_path).run()
    longer = PPO(policies[0], judge, 1, plan, seed=0, work=tmp_path).run()
    whole = PPO(policies[1], judge, 1, plan, seed=0).run()
    assert longer == whole
    assert torch.equal(policies[0].logits, policies[1].logits)


def test_length_is_paid_for():
    plan = PPOPlan(iterations=1, batch=8, group=1, minibatch=8, length_most=1, length_price=0.5)
    ppo = PPO(TablePolicy(3, 4), judge_by(len), 1, plan, seed=0)
    assert ppo._length_cost(torch.ones(2, 4)).tolist() == [1.5, 1.5]


def test_a_verdict_brings_the_best_policy_back():
    """A proxy that pays for harm: the run stops, says why, and the policy that is left is an earlier one."""

    def judge(texts, prompts, iteration):
        proxy = np.array([float(t.count("w0")) for t in texts])
        gold = np.array([1.0 - (t.count("w0") - 2.0) ** 2 / 4.0 for t in texts])
        return Rewards(proxy, proxy * 0, proxy * 0, gold)

    plan = PPOPlan(
        iterations=120, batch=128, group=1, minibatch=64, learning_rate=0.03, kl_start=0.01, kl_target=50.0,
        kl_horizon=10**9,
    )  # fmt: skip
    policy = TablePolicy(4, 6)
    ppo = PPO(policy, judge, 1, plan, seed=0, monitor=Monitor(StopRule(diversity_least=0.0)))
    outcome = ppo.run()
    assert outcome.verdict is not None
    assert outcome.verdict.rule in ("truth_turned", "truth_fell")
    assert "earned" in outcome.verdict.reason
    assert outcome.best < outcome.verdict.iteration
    left = judge(policy.sample([0] * 512, 1).texts, [], 0).gold.mean()
    assert left > 0.5
